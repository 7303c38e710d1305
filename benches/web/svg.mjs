// What the charts share: text, and colours that follow the reader's scheme.

/** The <style> of a chart. */
export const seriesColours = `<style>
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600 }
  .note { fill: #59636e; font-size: 12px }
  .mobilesight { fill: #1a7f64 }
  .onnxruntime { fill: #8250df }
  .litert { fill: #bf6a02 }
  .limit { stroke: #cf222e; stroke-width: 2 }
  .axis { stroke: #59636e }
  .line { stroke: #1a7f64; stroke-width: 2; fill: none }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .note { fill: #9198a1 }
    .mobilesight { fill: #3fb68f }
    .onnxruntime { fill: #a371f7 }
    .litert { fill: #e0912f }
    .limit { stroke: #ff7b72 }
    .axis { stroke: #9198a1 }
    .line { stroke: #3fb68f }
  }
</style>`;

const escape = (text) => text.replace(/&/g, '&amp;').replace(/</g, '&lt;');

/** Text that starts at (x, y), its baseline. */
export const textAt = (x, y, text, attributes = '') => `<text x="${x}" y="${y}" ${attributes}>${escape(text)}</text>`;
