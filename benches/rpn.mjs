// `node benches/rpn.mjs`: what fewer proposals of the default detector save and cost, natively, on labelled pictures; writes RPN.md.
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { mobilesightJson } from '../pkg-config/cli.mjs';
import { root } from '../pkg-config/run.mjs';
import { commitOf, machine } from './web/machine.mjs';

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

function row(setting) {
  const { ap50, map, pictures, network_ms } = measure(setting);
  const figures = [...setting, network_ms.toFixed(1), ap50.toFixed(2), map.toFixed(2), pictures];
  const line = `| ${figures.join(' | ')} |`;
  console.log(line);
  return line;
}

if (!existsSync(join(data, 'eval.json'))) {
  console.log(
    `There are no labelled pictures in ${data}: nothing to measure. MOBILESIGHT_SHARED names the folder that holds data/coco.`,
  );
  process.exit();
}
const head =
  '| rpn_pre_nms_top_n_test | rpn_post_nms_top_n_test | rpn_score_thresh | network, ms | AP50 | mAP | pictures |';
const rows = settings.map(row);
const text = `# Fewer proposals of the default detector

By \`node benches/rpn.mjs\` on ${new Date().toISOString().slice(0, 10)}, commit ${commitOf(root)}, ${machine}. Native build, one thread, f32; times are medians over the pictures, of COCO val2017.
The first row is the model's own setting. \`detect(image, { rpn: { preNmsTopN, postNmsTopN, scoreThreshold } })\` sets them for a call.

${head}
|${'---|'.repeat(7)}
${rows.join('\n')}
`;
writeFileSync(join(root, 'benches/RPN.md'), text);
