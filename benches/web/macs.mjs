// Multiply-accumulates by layer, under TorchVision's names, from the same tables as TorchVision's builders (models/mobilenetv3.py,
// models/detection/faster_rcnn.py, models/segmentation/lraspp.py).

/** kernel, expanded, out, squeeze-excite, stride of MobileNetV3-Large's blocks; the first takes 16 channels. */
const large = [
  [3, 16, 16, false, 1],
  [3, 64, 24, false, 2],
  [3, 72, 24, false, 1],
  [5, 72, 40, true, 2],
  [5, 120, 40, true, 1],
  [5, 120, 40, true, 1],
  [3, 240, 80, false, 2],
  [3, 200, 80, false, 1],
  [3, 184, 80, false, 1],
  [3, 184, 80, false, 1],
  [3, 480, 112, true, 1],
  [3, 672, 112, true, 1],
  [5, 672, 160, true, 2],
  [5, 960, 160, true, 1],
  [5, 960, 160, true, 1],
];
// The first block at stride 32: the detector's lower tap, and where LR-ASPP dilates instead.
const c4 = 13;
// The last block at stride 8: LR-ASPP's lower tap.
const c2 = 4;

/** TorchVision's _make_divisible by 8: the nearest multiple that is not under nine tenths. */
function divisible(channels) {
  const nearest = Math.max(8, Math.floor((channels + 4) / 8) * 8);
  return nearest < 0.9 * channels ? nearest + 8 : nearest;
}

/** The blocks at a width multiplier. */
const blocksAt = (widthMult) =>
  large.map(([kernel, expanded, out, squeezeExcite, stride]) => ({
    kernel,
    expanded: divisible(expanded * widthMult),
    out: divisible(out * widthMult),
    squeezeExcite,
    stride,
  }));

/** Layers of one inverted residual; `before` and `after` are its pixels in and out. */
function blockLayers(name, input, { kernel, expanded, out, squeezeExcite }, before, after) {
  const layers = [];
  if (expanded !== input) layers.push(before * input * expanded);
  layers.push(after * kernel * kernel * expanded);
  if (squeezeExcite) layers.push(2 * expanded * divisible(expanded / 4));
  layers.push(after * expanded * out);
  return layers.map((count, i) => ({ name: `${name}.block.${i}`, macs: count }));
}

/** The backbone: its layers; the pixels and channels of the features behind each block, and those of the last. */
function backbone(prefix, { height, width, widthMult = 1, dilated = false }) {
  let [h, w, input] = [Math.ceil(height / 2), Math.ceil(width / 2), divisible(16 * widthMult)];
  const taps = [{ pixels: h * w, channels: input }];
  const layers = [{ name: `${prefix}0`, macs: h * w * 9 * 3 * input }];
  blocksAt(widthMult).forEach((block, i) => {
    const before = h * w;
    const stride = dilated && i + 1 >= c4 ? 1 : block.stride;
    [h, w] = [Math.ceil(h / stride), Math.ceil(w / stride)];
    layers.push(...blockLayers(`${prefix}${i + 1}`, input, block, before, h * w));
    taps.push({ pixels: h * w, channels: block.out });
    input = block.out;
  });
  const last = 6 * input;
  layers.push({ name: `${prefix}16`, macs: h * w * input * last });
  return { layers, taps, last };
}

function classifier({ classes, ...size }) {
  const { layers, last } = backbone('features.', size);
  const hidden = divisible(1280 * (size.widthMult ?? 1));
  return [...layers, { name: 'classifier.0', macs: last * hidden }, { name: 'classifier.3', macs: hidden * classes }];
}

function lraspp({ classes, ...size }) {
  const { layers, taps, last } = backbone('backbone.', { ...size, dilated: true });
  const [low, high] = [taps[c2], taps[c4]];
  const inter = 128;
  return [
    ...layers,
    { name: 'classifier.cbr', macs: high.pixels * last * inter },
    { name: 'classifier.scale', macs: last * inter },
    { name: 'classifier.low_classifier', macs: low.pixels * low.channels * classes },
    // TorchVision resizes before this layer; after it, which gives the same, there is less to do.
    { name: 'classifier.high_classifier', macs: high.pixels * inter * classes },
  ];
}

/** `height` and `width` as padded to 32. */
function fasterRcnn({ proposals, classes, ...size }) {
  const { layers, taps, last } = backbone('backbone.body.', size);
  const { pixels, channels } = taps[c4];
  const anchors = 15;
  const conv3x3 = 9 * 256 * 256;
  const levels = 2 * pixels + Math.ceil(size.height / 64) * Math.ceil(size.width / 64);
  return [
    ...layers,
    { name: 'backbone.fpn.inner_blocks.0', macs: pixels * channels * 256 },
    { name: 'backbone.fpn.inner_blocks.1', macs: pixels * last * 256 },
    { name: 'backbone.fpn.layer_blocks.0', macs: pixels * conv3x3 },
    { name: 'backbone.fpn.layer_blocks.1', macs: pixels * conv3x3 },
    { name: 'rpn.head.conv', macs: levels * conv3x3 },
    { name: 'rpn.head.cls_logits', macs: levels * 256 * anchors },
    { name: 'rpn.head.bbox_pred', macs: levels * 256 * anchors * 4 },
    { name: 'roi_heads.box_head.fc6', macs: proposals * 256 * 49 * 1024 },
    { name: 'roi_heads.box_head.fc7', macs: proposals * 1024 * 1024 },
    { name: 'roi_heads.box_predictor.cls_score', macs: proposals * 1024 * classes },
    { name: 'roi_heads.box_predictor.bbox_pred', macs: proposals * 1024 * classes * 4 },
  ];
}

/** Functions from { height, width, classes, widthMult = 1 }, and `proposals` for the detector, to [{ name, macs }] in the order of a run. */
export const macs = { classifier, lraspp, fasterRcnn };

/** Of all `layers`, or of those at or below `prefix`. */
export function total(layers, prefix = '') {
  const below = ({ name }) => prefix === '' || name === prefix || name.startsWith(`${prefix}.`);
  return layers.filter(below).reduce((sum, layer) => sum + layer.macs, 0);
}
