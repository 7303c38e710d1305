// What is timed: the models, their pictures and their multiply-accumulates, and the engines with the files that they read.
import { macs } from './macs.mjs';

/** The detector's steps by the part of the model that they belong to: what runs between two steps is timed with the latter. */
const detectorSteps = {
  rest: 'decoding and suppression',
  features: 'backbone.fpn',
  'rpn.head': 'rpn.head',
  'roi_heads.cls_score': 'roi_heads.box_predictor',
  'roi_heads.bbox_pred': 'roi_heads.box_predictor',
};

const segmenterSteps = { rest: 'argmax to the mask' };

/**
 * `layers`: multiply-accumulates by layer; `steps`: rows of the table of times that are not layers. `picture`: generated ({ height, width }) or a file of www/samples. `weights`: a file of www/models where the weights are not the generated ones;
 * such models have no peer.
 */
export const models = [
  {
    name: 'frcnn320',
    title: 'Faster R-CNN MobileNetV3-Large 320 FPN, 150 proposals',
    task: 'detection',
    picture: { height: 320, width: 427 },
    steps: detectorSteps,
    layers: () => macs.fasterRcnn({ height: 320, width: 448, proposals: 150, classes: 91 }),
  },
  {
    name: 'lraspp320',
    title: 'LR-ASPP MobileNetV3-Large, 320 x 320',
    task: 'segmentation',
    picture: { height: 320, width: 320 },
    steps: segmenterSteps,
    layers: () => macs.lraspp({ height: 320, width: 320, classes: 21 }),
  },
  {
    name: 'large224',
    title: 'MobileNetV3-Large, 224 x 224',
    task: 'classification',
    picture: { height: 224, width: 224 },
    options: { topK: 1000 },
    steps: { logits: 'classifier', rest: 'softmax and order' },
    layers: () => macs.classifier({ height: 224, width: 224, classes: 1000 }),
  },
  {
    name: 'default-detector',
    title: 'Default detector on a photo (astronaut.png)',
    task: 'detection',
    steps: detectorSteps,
    picture: { sample: 'astronaut.png' },
    weights: 'coco-fasterrcnn-mobilenetv3-320',
  },
  {
    name: 'default-segmenter',
    title: 'Default segmenter on a photo (china.png)',
    task: 'segmentation',
    steps: segmenterSteps,
    picture: { sample: 'china.png' },
    weights: 'street-lraspp-mobilenetv3',
  },
];

export const dtypes = ['f32', 'int8'];

/** `suffix`: how the name of a model's file ends, by dtype; `cannot`: why there is no file of a model. */
export const engines = [
  { name: 'mobilesight', suffix: { f32: '.f32.safetensors', int8: '.int8.safetensors' } },
  { name: 'onnxruntime', title: 'onnxruntime-web', suffix: { f32: '.onnx', int8: '.int8.onnx' } },
  {
    name: 'litert',
    title: 'LiteRT.js',
    suffix: { f32: '.tflite', int8: '.int8.tflite' },
    cannot: { frcnn320: 'it cannot load the detector' },
  },
];

export const titleOf = (engine) => engines.find(({ name }) => name === engine)?.title ?? engine;

/** The files that there were not, where `entered` ([{ engine, model, dtype }], by names) has all that took part: [{ engine, model, dtype, file, why }]. */
export function absentFiles(entered) {
  const took = (engine, model, dtype) =>
    entered.some((entry) => entry.engine === engine && entry.model === model && entry.dtype === dtype);
  const chosen = models.filter(({ name, weights }) => !weights && entered.some(({ model }) => model === name));
  return chosen.flatMap(({ name: model }) =>
    engines.flatMap(({ name: engine, suffix, cannot }) =>
      dtypes
        .filter((dtype) => !took(engine, model, dtype))
        .map((dtype) => ({ engine, model, dtype, file: model + suffix[dtype], why: cannot?.[model] })),
    ),
  );
}
