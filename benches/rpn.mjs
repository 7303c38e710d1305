// `node benches/rpn.mjs [--repeats N]`: what fewer proposals of the default detector save and cost, natively, on labelled pictures; writes RPN.md.
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mobilesightJson } from '../pkg-config/cli.mjs';
import { readArguments, root } from '../pkg-config/run.mjs';
import { commitOf, cpu, machineOf } from './web/machine.mjs';
import { table } from './web/markdown.mjs';
import { median } from './web/statistics.mjs';

const data = join(process.env.MOBILESIGHT_SHARED ?? join(root, '../shared'), 'data/coco');
const weights = join(root, 'www/models/coco-fasterrcnn-mobilenetv3-320.f16.safetensors');

// rpn_pre_nms_top_n_test, rpn_post_nms_top_n_test, rpn_score_thresh: the model's own, then others of one, then less of all.
const settings = [
  [150, 150, 0.05],
  [1000, 1000, 0.05],
  [150, 100, 0.05],
  [150, 50, 0.05],
  [150, 20, 0.05],
  [75, 150, 0.05],
  [30, 150, 0.05],
  [150, 150, 0],
  [150, 150, 0.2],
  [150, 150, 0.4],
  [75, 50, 0.2],
];

function measure([pre, post, score]) {
  const rpn = ['--rpn-pre-nms', pre, '--rpn-post-nms', post, '--rpn-score', score].map(String);
  const pictures = ['--pictures', join(data, 'eval'), '--truth', join(data, 'eval.json')];
  return mobilesightJson(['eval', '--weights', weights, ...pictures, ...rpn]);
}

/** The settings' indices in the order of a repeat: each time another one is first, and every other time they go backwards. */
function turn(repeat) {
  const count = settings.length;
  return settings.map((_, i) => (repeat + (repeat % 2 ? count - i : i)) % count);
}

/** All settings in turn, `repeats` times, so that a busy moment is not one setting's: what `measure` found of each. */
function measureAll(repeats) {
  const found = settings.map(() => []);
  for (let repeat = 0; repeat < repeats; repeat++) {
    for (const i of turn(repeat)) {
      found[i].push(measure(settings[i]));
      console.log(
        `${repeat + 1} of ${repeats}: ${settings[i].join(', ')}: ${found[i].at(-1).network_ms.toFixed(1)} ms`,
      );
    }
  }
  return found;
}

/** A setting's times over the repeats; its accuracy is the same in all. */
function row(setting, found) {
  const [{ ap50, map, pictures }, times] = [found[0], found.map(({ network_ms }) => network_ms)];
  return [
    ...setting,
    median(times).toFixed(1),
    Math.min(...times).toFixed(1),
    ap50.toFixed(2),
    map.toFixed(2),
    pictures,
  ];
}

const { values } = readArguments('node benches/rpn.mjs [--repeats N]', { repeats: { type: 'string', default: '5' } });
const repeats = Number(values.repeats);
if (!Number.isInteger(repeats) || repeats < 1) {
  console.error('--repeats takes a whole number, at least 1');
  process.exit(1);
}
if (!existsSync(join(data, 'eval.json'))) {
  console.log(
    `There are no labelled pictures in ${data}: nothing to measure. MOBILESIGHT_SHARED names the folder that holds data/coco.`,
  );
  process.exit();
}
const head = [
  'rpn_pre_nms_top_n_test',
  'rpn_post_nms_top_n_test',
  'rpn_score_thresh',
  'network, median ms',
  'minimum ms',
  'AP50',
  'mAP',
  'pictures',
];
const rows = measureAll(repeats).map((found, i) => row(settings[i], found));
const text = `# Fewer proposals of the default detector

By \`node benches/rpn.mjs\` on ${machineOf(cpu)}; commit ${commitOf(root)}; ${new Date().toISOString().slice(0, 10)}; ${repeats === 1 ? 'once' : `${repeats} times all rows in turn`}. Native build, one thread, f32, pictures of COCO val2017.
A time is the median over the pictures; median and minimum are those of the repeats. The first row is the model's own setting.
\`detect(image, { rpn: { preNmsTopN, postNmsTopN, scoreThreshold } })\` sets them for a call.

${table(head, rows)}`;
console.log(text);
writeFileSync(join(root, 'benches/RPN.md'), text);
