/** What AbortSignal itself lacks: waiting with a signal, and following one for a time. */
import { abortError } from './errors.ts';

/** `promise`, or the signal's error as soon as it is aborted; what `promise` stands for goes on. */
export async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  let stop = () => {};
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(abortError(signal));
    if (signal.aborted) stop();
    else signal.addEventListener('abort', stop);
  });
  // A signal may outlive many calls, so the listener must not stay.
  return Promise.race([promise, aborted]).finally(() => signal.removeEventListener('abort', stop));
}

/** A controller that follows `signal` until `unlink` is called. */
export function linkedController(signal: AbortSignal | undefined): { controller: AbortController; unlink: () => void } {
  const controller = new AbortController();
  const follow = () => controller.abort(abortError(signal));
  if (signal?.aborted) follow();
  signal?.addEventListener('abort', follow);
  return { controller, unlink: () => signal?.removeEventListener('abort', follow) };
}
