/** What the tests share: a worker that is played by a script, and pictures as Node has none. */
import { vi } from 'vitest';
import type { WorkerLike } from './connection.ts';
import type { EngineInfo } from './engine.ts';
import type { Answer, Call, Failure, RunAnswer } from './protocol.ts';

export const ENGINE_INFO: EngineInfo = {
  task: 'detection',
  arch: 'fasterrcnn_mobilenet_v3_large_320_fpn',
  labels: ['__background__', 'person', 'cat'],
  dtype: 'f32',
};

/** A run's answer without detections, for a picture of this width. */
export function runAnswer(width: number): RunAnswer {
  const times = { decode: 1, preprocess: 2, network: 3, postprocess: 4 };
  const nothing = { boxes: new Float32Array(), scores: new Float32Array(), classIds: new Uint32Array() };
  return { ...nothing, ...times, width, height: 1, memoryBytes: 1000 + width };
}

/** A worker that loads at once, and whose runs wait for the test. */
export class FakeWorker implements WorkerLike {
  onmessage: WorkerLike['onmessage'] = null;
  onerror: WorkerLike['onerror'] = null;
  onmessageerror: WorkerLike['onmessageerror'] = null;
  readonly terminate = vi.fn();
  /** All calls so far. */
  readonly calls: Call[] = [];
  /** Calls by name that this worker leaves unanswered or answers itself. */
  readonly overrides: Partial<Record<Call['name'], (call: Call) => void>> = {};

  postMessage(call: Call): void {
    this.calls.push(call);
    queueMicrotask(() => this.play(call));
  }

  /** Runs that were posted. */
  get runs(): Call<'run'>[] {
    return this.calls.filter((call) => call.name === 'run');
  }

  answer(call: Call, value: unknown): void {
    this.post({ id: call.id, value });
  }

  fail(call: Call, failure: Partial<Failure>): void {
    this.post({ id: call.id, failure: { code: 'E_INTERNAL', message: '', details: {}, fatal: false, ...failure } });
  }

  /** An error outside of any call. */
  crash(message?: string): void {
    const event = Object.assign(new Event('error', { cancelable: true }), { message });
    (this.onerror as ((event: Event) => void) | null)?.(event);
  }

  private post(data: Answer): void {
    (this.onmessage as ((event: { data: Answer }) => void) | null)?.({ data });
  }

  private play(call: Call): void {
    const override = this.overrides[call.name];
    if (override) override(call);
    else if (call.name === 'start') this.answer(call, null);
    else if (call.name === 'rehearse') this.answer(call, 1);
    else if (call.name === 'load') this.answer(call, { info: ENGINE_INFO, parts: call.argument.parts });
    else if (call.name === 'warmUp') this.answer(call, 999);
  }
}

/** An ImageData of one row. */
export function fakeImageData(width: number): ImageData {
  const image = {
    width,
    height: 1,
    colorSpace: 'srgb',
    data: new Uint8ClampedArray(4 * width),
    [Symbol.toStringTag]: 'ImageData',
  };
  return image as unknown as ImageData;
}

/** Waits until `condition` holds. */
export async function until(condition: () => boolean): Promise<void> {
  await vi.waitFor(() => {
    if (!condition()) throw new Error('not yet');
  });
}
