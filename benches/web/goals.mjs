// What mobilesight is to reach, in one list, and how far a run got: each figure of a CPU's summary, with its goal where it has one.
import { total } from './macs.mjs';
import { megabytes, times } from './markdown.mjs';
import { models } from './models.mjs';
import { median } from './statistics.mjs';

/** Whether the one-instruction dot is exact: VNNI's, or Arm's. int8's limit is three times f32's with it, so other goals hold. */
export const hasExactDot = ({ dot }) => dot === 'unsigned' || dot === 'signed';

// Each pair of goals: of a CPU without the exact dot (Zen 2 stood for it when they were set), of one with it (Zen 5).
const overPeer = {
  frcnn320: { f32: [2.1, 1.9], int8: [2.1, 2.9] },
  lraspp320: { f32: [1.75, 1.6], int8: [2.5, 2.6] },
  large224: { f32: [1.75, 1.7], int8: [2.5, 2.8] },
};
const overFloat = { frcnn320: [1, 2.1], lraspp320: [1, 1.6], large224: [1, 1.6] };
const shareOfLimit = { frcnn320: 0.8, lraspp320: 0.8, large224: 0.8 };
const overOneThread = { frcnn320: 1.8, lraspp320: 1.8, large224: 1 };
const firstOverSteady = 1.5;
const memoryFor = (weights) => weights * 1.3 + 40e6;

/** The multiply-accumulates of a run of the model; undefined where its layers are not known here. */
export function macsOf(name) {
  const model = models.find((candidate) => candidate.name === name);
  return model?.layers ? total(model.layers()) : undefined;
}

/** The limit of a dtype on one thread, in multiply-accumulates a millisecond. */
export const rateOf = (dtype, peak) => (dtype === 'int8' ? peak.i8 : peak.f32) * 1e6;

/** Of the limit of as many threads: the time that the multiply-accumulates need at the best rate, over the time taken. */
export function share({ model, dtype, threads, median_ms }, peak) {
  const macs = macsOf(model);
  return macs && macs / (rateOf(dtype, peak) * threads) / median_ms;
}

/** The same of the limit in the same turns as its runs; undefined for results that are older than turns, and where a launch failed. */
function shareInTurn(run, { turn_peaks }) {
  const peaks = turn_peaks?.[run.model];
  if (!peaks || peaks.length !== run.turn_medians_ms.length || !macsOf(run.model)) return undefined;
  return median(run.turn_medians_ms.map((median_ms, i) => share({ ...run, median_ms }, peaks[i])));
}

const same = (a) => (b) => a.model === b.model && a.dtype === b.dtype && a.threads === b.threads;

/**
 * How many times as long as `b` `a` took: the median of each turn's own ratio, since a machine is slower in some minutes than in others; of each launch's in results that are
 * older than turns. Of the medians of all where one of the two failed in a launch; undefined without one of them.
 */
export function ratio(a, b) {
  if (!a || !b) return undefined;
  const [of, to] = [a, b].map(({ turn_medians_ms, launch_medians_ms }) => turn_medians_ms ?? launch_medians_ms);
  return of.length === to.length ? median(of.map((time, i) => time / to[i])) : a.median_ms / b.median_ms;
}

/** How many times faster than the fastest peer at the same work; undefined without one. */
export function overBestPeer(run, runs) {
  const peers = runs.filter(same(run)).filter(({ engine }) => engine !== 'mobilesight');
  return peers.length ? Math.min(...peers.map((peer) => ratio(peer, run))) : undefined;
}

const isInt8 = ({ dtype }) => dtype === 'int8';
const ownFloat = (run, runs) => runs.find((r) => r.engine === run.engine && same({ ...run, dtype: 'f32' })(r));
const memory = (bytes) => (bytes === undefined ? '' : `${megabytes(bytes)} MB`);
const tenths = (value) => (value === undefined ? '' : `${(value * 100).toFixed(1)} %`);
const firstRun = (run) => run && run.first_ms / run.median_ms;
const memoryGoal = (run) => run?.weights_memory_bytes && memoryFor(run.weights_memory_bytes);

/**
 * The figures of a model and dtype, whose runs on one and on two threads are `one` and `two`: `value` of these runs and all `results`, `least` or
 * `most` of the run and the index in a pair above where there is a goal, `write` for both.
 */
const figures = [
  {
    title: 'over the best peer',
    value: (one, two, { runs }) => overBestPeer(one, runs),
    least: ({ model, dtype }, at) => overPeer[model]?.[dtype][at],
    write: times,
  },
  {
    title: 'over the best peer, 2 threads',
    value: (one, two, { runs }) => two && overBestPeer(two, runs),
    write: times,
  },
  {
    title: 'of the limit',
    value: (one, two, { peak }) => share(one, peak),
    least: (one) => (isInt8(one) ? undefined : shareOfLimit[one.model]),
    write: tenths,
  },
  { title: 'of the limit in the same turn', value: (one, two, results) => shareInTurn(one, results), write: tenths },
  {
    title: 'over own f32',
    value: (one, two, { runs }) => (isInt8(one) ? ratio(ownFloat(one, runs), one) : undefined),
    least: (one, at) => (isInt8(one) ? overFloat[one.model]?.[at] : undefined),
    write: times,
  },
  {
    title: '2 threads over 1',
    value: ratio,
    least: ({ model }) => overOneThread[model],
    write: times,
  },
  { title: 'first run over a steady one', value: (one) => firstRun(one), most: () => firstOverSteady, write: times },
  { title: 'first run, 2 threads', value: (one, two) => firstRun(two), most: () => firstOverSteady, write: times },
  { title: 'memory', value: (one) => one.peak_bytes, most: (one) => memoryGoal(one), write: memory },
  {
    title: 'memory, 2 threads',
    value: (one, two) => two?.peak_bytes,
    most: (one, at, two) => memoryGoal(two),
    write: memory,
  },
];

/** The titles of what `judged` gives, each with the way that its goals go. */
export const titles = figures.map(({ title, least, most }) => title + (least ? ', at least' : most ? ', at most' : ''));

function judge({ title, value, least, most, write }, [one, two], results) {
  const at = hasExactDot(results.peak) ? 1 : 0;
  const [found, goal] = [value(one, two, results), (least ?? most)?.(one, at, two)];
  const met = found === undefined || goal === undefined ? undefined : least ? found >= goal : found <= goal;
  return { title, value: write(found), goal: write(goal), met };
}

/**
 * mobilesight's models and dtypes in `results`: [{ model, dtype, figures: [{ title, value, goal, met }] }], in the order of `titles`; `goal` is empty where there is none, and
 * `met` undefined where there is none or nothing to hold to it.
 */
export function judged(results) {
  const ours = results.runs.filter(({ engine }) => engine === 'mobilesight');
  return ours
    .filter(({ threads }) => threads === 1)
    .map((one) => {
      const two = ours.find(same({ ...one, threads: 2 }));
      return { ...one, figures: figures.map((figure) => judge(figure, [one, two], results)) };
    });
}
