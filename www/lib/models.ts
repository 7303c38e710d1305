/** The three kinds of model: a client, with options and results in the task's own words. */
import { Client } from './client.ts';
import { spawnWorker } from './connection.ts';
import { classifierOptions, detectorOptions, signalOf } from './options.ts';
import type { RunAnswer } from './protocol.ts';
import type {
  Classification,
  Classifier,
  CreateOptions,
  Detection,
  Detector,
  Model,
  Segmenter,
  Timings,
} from './types.ts';

/**
 * Loads a detector: Faster R-CNN or SSDlite.
 *
 * @throws MobilesightError, or an AbortError; as a rejection.
 */
export async function createDetector(options: CreateOptions): Promise<Detector> {
  const client = await Client.create('detection', options, spawnWorker);
  return {
    ...shared(client),
    async detect(image, options = {}) {
      const { labels } = client.info();
      const answer = await client.run(image, detectorOptions(options, labels), options.signal);
      const { width, height } = answer;
      return { detections: detectionsOf(answer, labels), width, height, timings: timingsOf(answer) };
    },
  };
}

/**
 * Loads a segmentation model: LR-ASPP, DeepLabV3 or FCN.
 *
 * @throws MobilesightError, or an AbortError; as a rejection.
 */
export async function createSegmenter(options: CreateOptions): Promise<Segmenter> {
  const client = await Client.create('segmentation', options, spawnWorker);
  return {
    ...shared(client),
    async segment(image, options = {}) {
      const answer = await client.run(image, {}, signalOf(options));
      const { width, height, mask = new Uint8Array() } = answer;
      return { mask, labels: client.info().labels, width, height, timings: timingsOf(answer) };
    },
  };
}

/**
 * Loads a classifier: MobileNetV3-Large or -Small.
 *
 * @throws MobilesightError, or an AbortError; as a rejection.
 */
export async function createClassifier(options: CreateOptions): Promise<Classifier> {
  const client = await Client.create('classification', options, spawnWorker);
  return {
    ...shared(client),
    async classify(image, options = {}) {
      const answer = await client.run(image, classifierOptions(options), options.signal);
      return { classes: scoresOf(answer, client.info().labels), timings: timingsOf(answer) };
    },
  };
}

function shared(client: Client): Model {
  return {
    info: () => client.info(),
    profile: async (image, options = {}) => client.profile(image, signalOf(options)),
    close: () => client.close(),
  };
}

function scoresOf({ scores = new Float32Array(), classIds }: RunAnswer, labels: readonly string[]): Classification[] {
  return Array.from(scores, (score, i) => {
    const classId = classIds?.[i] ?? 0;
    return { label: labels[classId] ?? String(classId), classId, score };
  });
}

function detectionsOf(answer: RunAnswer, labels: readonly string[]): Detection[] {
  const { boxes = new Float32Array() } = answer;
  return scoresOf(answer, labels).map((scored, i) => {
    const [x = 0, y = 0, right = 0, bottom = 0] = boxes.subarray(4 * i, 4 * i + 4);
    return { box: { x, y, width: right - x, height: bottom - y }, ...scored };
  });
}

function timingsOf({ decode, preprocess, network, postprocess }: RunAnswer): Timings {
  return { decode, preprocess, network, postprocess };
}
