// `--scale`: how mobilesight's time and memory grow with the picture, the proposals and the width, each varied alone.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { time } from './contest.mjs';
import { picture } from './generator.mjs';
import { macs, total } from './macs.mjs';
import { generatedWeights, withMetadata } from './weights.mjs';

const sides = [160, 224, 320, 448, 640, 896, 1280];
const proposalCounts = [10, 30, 60, 100, 150, 200, 300];
const widths = [0.35, 0.5, 0.75, 1];

const square = (side) => ({ height: side, width: side });
const detector = (size) => total(macs.fasterRcnn({ proposals: 150, classes: 91, ...size }));
const segmenter = (size) => total(macs.lraspp({ classes: 21, ...size }));

/** As many proposals as asked for: none is dropped by score or overlap. */
const exactly = (proposals) => ({
  rpn: { preNmsTopN: proposals, postNmsTopN: proposals, scoreThreshold: 0, nmsThreshold: 1 },
});

const files = { frcnn: 'frcnn320.f32.safetensors', lraspp: 'lraspp320.f32.safetensors' };

/** Each point: what varies, its value, the task, the picture, the weights file and how its metadata differ, and the MACs. */
function pictureSeries() {
  return sides.flatMap((side) => [
    {
      series: 'Faster R-CNN by picture side',
      value: side,
      task: 'detection',
      picture: square(side),
      options: exactly(150),
      file: files.frcnn,
      edit: (metadata) => ({ ...metadata, config: { ...metadata.config, min_size: side, max_size: side } }),
      macs: detector(square(side)),
    },
    {
      series: 'LR-ASPP by picture side',
      value: side,
      task: 'segmentation',
      picture: square(side),
      file: files.lraspp,
      edit: (metadata) => ({ ...metadata, preset: { ...metadata.preset, resize: side } }),
      macs: segmenter(square(side)),
    },
  ]);
}

function proposalSeries() {
  return proposalCounts.map((proposals) => ({
    series: 'Faster R-CNN 320 by proposals',
    value: proposals,
    task: 'detection',
    picture: { height: 320, width: 427 },
    options: exactly(proposals),
    file: files.frcnn,
    macs: detector({ height: 320, width: 448, proposals }),
  }));
}

function widthSeries() {
  return widths.flatMap((widthMult) => {
    const folder = generatedWeights(widthMult === 1 ? [] : ['--width-mult', String(widthMult)]);
    const size = { height: 320, width: 320 };
    const point = { value: widthMult, picture: size, folder };
    return [
      {
        ...point,
        series: 'Faster R-CNN 320 by width_mult',
        task: 'detection',
        options: exactly(150),
        file: files.frcnn,
        macs: detector({ ...size, widthMult }),
      },
      {
        ...point,
        series: 'LR-ASPP 320 by width_mult',
        task: 'segmentation',
        file: files.lraspp,
        macs: segmenter({ ...size, widthMult }),
      },
    ];
  });
}

/** A contestant for a point; its weights and picture are added to `served`. */
function enter(point, folder, served) {
  const { series, value, task, options, edit } = point;
  const { height, width } = point.picture;
  const weights = `/weights/${encodeURIComponent(`${series} ${value}`)}.safetensors`;
  const path = join(point.folder ?? folder, point.file);
  served.set(decodeURIComponent(weights), () => (edit ? withMetadata(readFileSync(path), edit) : readFileSync(path)));
  served.set(`/picture/${height}x${width}`, () => picture(height, width));
  const model = { name: `${series}: ${value}`, task, picture: point.picture, options };
  return { engine: 'mobilesight', model, dtype: 'f32', threads: 1, weights };
}

/** Times all points on `server`, whose `served` files they are added to: { limits, browser, points: [{ series, value, macs, median_ms, peak_bytes }] }. */
export async function measureScale(server, served, options) {
  const folder = generatedWeights();
  const points = [...pictureSeries(), ...proposalSeries(), ...widthSeries()];
  const entries = points.map((point) => enter(point, folder, served));
  const { runs, limits, browser } = await time(entries, server, options);
  const found = points.map(({ series, value, macs }, i) => {
    const run = runs.find(({ model }) => model === entries[i].model.name);
    return run && { series, value, macs, median_ms: run.median_ms, peak_bytes: run.peak_bytes };
  });
  return { limits, browser, points: found.filter(Boolean) };
}
