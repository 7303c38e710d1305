// `--scale`: how mobilesight's time and memory grow with what the network sees, the proposals, the width and the source picture, each varied alone.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { time } from './contest.mjs';
import { enlarged, picture } from './generator.mjs';
import { macs, total } from './macs.mjs';
import { dtypes } from './models.mjs';
import { withMetadata } from './safetensors.mjs';
import { generatedWeights, quantisedWeights } from './weights.mjs';

const sides = [160, 224, 320, 448, 640, 896, 1280];
const proposalCounts = [10, 30, 60, 100, 150, 200, 300];
const widths = [0.35, 0.5, 0.75, 1];
/** From a webcam's picture to a camera's. */
const sources = [
  [640, 480],
  [1280, 960],
  [2560, 1920],
  [4000, 3000],
].map(([width, height]) => ({ width, height }));

const square = (side) => ({ height: side, width: side });
const detector = (size) => total(macs.fasterRcnn({ proposals: 150, classes: 91, ...size }));
const segmenter = (size) => total(macs.lraspp({ classes: 21, ...size }));

/** As many proposals as asked for: none is dropped by score or overlap. */
const exactly = (proposals) => ({
  rpn: { preNmsTopN: proposals, postNmsTopN: proposals, scoreThreshold: 0, nmsThreshold: 1 },
});

const frcnn = { name: 'frcnn320', task: 'detection', options: exactly(150) };
const lraspp = { name: 'lraspp320', task: 'segmentation' };

/** Each point: what varies and its value, the model, the picture, how the file's metadata differ, and the MACs. */
function pictureSeries() {
  return sides.flatMap((side) => [
    {
      ...frcnn,
      series: 'Faster R-CNN by picture side',
      value: side,
      picture: square(side),
      edit: (metadata) => ({ ...metadata, config: { ...metadata.config, min_size: side, max_size: side } }),
      macs: detector(square(side)),
    },
    {
      ...lraspp,
      series: 'LR-ASPP by picture side',
      value: side,
      picture: square(side),
      edit: (metadata) => ({ ...metadata, preset: { ...metadata.preset, resize: side } }),
      macs: segmenter(square(side)),
    },
  ]);
}

function proposalSeries() {
  return proposalCounts.map((proposals) => ({
    ...frcnn,
    series: 'Faster R-CNN 320 by proposals',
    value: proposals,
    picture: { height: 320, width: 427 },
    options: exactly(proposals),
    macs: detector({ height: 320, width: 448, proposals }),
  }));
}

function widthSeries() {
  return widths.flatMap((widthMult) => {
    const size = square(320);
    const args = widthMult === 1 ? [] : ['--width-mult', String(widthMult)];
    const point = { value: widthMult, picture: size, args };
    return [
      { ...frcnn, ...point, series: 'Faster R-CNN 320 by width_mult', macs: detector({ ...size, widthMult }) },
      { ...lraspp, ...point, series: 'LR-ASPP 320 by width_mult', macs: segmenter({ ...size, widthMult }) },
    ];
  });
}

/** The network's input is the same in all of them; what comes before and after it grows. */
function sourceSeries() {
  return sources.flatMap((source) => {
    const point = { value: (source.width * source.height) / 1e6, picture: source, source };
    return [
      {
        ...frcnn,
        ...point,
        series: 'Faster R-CNN 320 by source picture',
        macs: detector({ height: 320, width: 448 }),
      },
      { ...lraspp, ...point, series: 'LR-ASPP 320 by source picture', macs: segmenter({ height: 320, width: 426 }) },
    ];
  });
}

/** `make`, called once. */
function once(make) {
  let made;
  return () => (made ??= make());
}

const small = once(() => picture(sources[0].height, sources[0].width));

/** The files of the points' models by dtype, made where they are not there. */
function foldersOf({ args = [] }) {
  return { f32: generatedWeights(args), int8: quantisedWeights([frcnn.name, lraspp.name], args) };
}

/** The contestants for a point, one a dtype; their weights and picture are added to `served`. */
function enter(point, served) {
  const { series, value, name, task, options, edit, source } = point;
  const { height, width } = point.picture;
  const make = () => (source ? enlarged(small(), sources[0], source) : picture(height, width));
  const at = `/picture/${height}x${width}`;
  if (!served.has(at)) served.set(at, once(make));
  const folders = foldersOf(point);
  const model = { name: `${series}: ${value}`, task, picture: point.picture, options };
  return dtypes.map((dtype) => {
    const weights = `/weights/${encodeURIComponent(`${series} ${value} ${dtype}`)}.safetensors`;
    const path = join(folders[dtype], `${name}.${dtype}.safetensors`);
    served.set(decodeURIComponent(weights), () => (edit ? withMetadata(readFileSync(path), edit) : readFileSync(path)));
    return { engine: 'mobilesight', model, dtype, threads: 1, weights };
  });
}

const kept = ['median_ms', 'min_ms', 'preprocess_ms', 'network_ms', 'postprocess_ms', 'copies_ms', 'peak_bytes'];

const allPoints = () => [...pictureSeries(), ...proposalSeries(), ...widthSeries(), ...sourceSeries()];

/** What there is to ask for. */
export const seriesNames = () => [...new Set(allPoints().map(({ series }) => series))];

/** Times all points, or those of the series `options.only`, on `server`, whose `served` files they are added to: { limits, browser, points: [{ series, dtype, value, source, macs } and what is `kept` of the run] }. */
export async function measureScale(server, served, options) {
  const points = allPoints().filter(({ series }) => !options.only || series === options.only);
  const entries = points.flatMap((point) => enter(point, served).map((entry) => ({ ...entry, point })));
  const { runs, limits, browser } = await time(entries, server, options);
  const found = entries.map(({ model, dtype, point: { series, value, source, macs } }) => {
    const run = runs.find((candidate) => candidate.model === model.name && candidate.dtype === dtype);
    return run && { series, dtype, value, source, macs, ...Object.fromEntries(kept.map((key) => [key, run[key]])) };
  });
  return { limits, browser, points: found.filter(Boolean) };
}
