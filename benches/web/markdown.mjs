// Markdown's table, and figures and circumstances as the reports write them.

/** Rows of cells under `head`; empty without rows. */
export function table(head, rows) {
  if (rows.length === 0) return '';
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line), ''].join('\n');
}

const shown = (write) => (value) => (value === undefined || !Number.isFinite(value) ? '' : write(value));

/** Milliseconds; these are empty where there is no value. */
export const ms = shown((value) => value.toFixed(value < 100 ? 2 : 1));
/** A share of one. */
export const percent = shown((value) => `${(value * 100).toFixed(0)} %`);
/** A factor. */
export const times = shown((value) => `${value.toFixed(2)}x`);
/** Bytes in MB. */
export const megabytes = shown((value) => (value / 1e6).toFixed(1));

/** Where, of what, when and how often a run was; older ones made a launch's runs one after the other. */
export const circumstances = ({ browser, commit, date, protocol: { launches, warm, runs, turns, quick } }) => {
  const often = `${launches} ${launches > 1 ? 'launches' : 'launch'} of ${runs} runs after ${warm}${turns ? `, in ${turns} turns` : ''}`;
  return `${browser}; commit ${commit}; ${date}; ${often}${quick ? ' (quick: only a look)' : ''}`;
};
