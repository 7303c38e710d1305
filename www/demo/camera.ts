/** The webcam: frames as pictures, until the signal is aborted or the device ends; then its tracks are released. */
import { MobilesightError } from 'mobilesight';
import type { Picture } from './state.ts';

const REASONS: Record<string, string> = {
  NotAllowedError: "The camera may not be used. Allow it in the browser's settings for this page, then start it again.",
  NotFoundError: 'There is no camera. Connect one, then start it again.',
  NotReadableError: 'The camera is in use elsewhere. Close the other program, then start it again.',
};

async function openCamera(): Promise<MediaStream> {
  // Only secure pages have mediaDevices, whatever the type says.
  const devices: MediaDevices | undefined = navigator.mediaDevices;
  if (!devices) {
    throw new MobilesightError(
      'E_UNSUPPORTED_ENV',
      'The camera needs a secure page. Open this one by https or localhost.',
    );
  }
  const video = { facingMode: 'environment', width: { ideal: 640 }, height: { ideal: 480 } };
  return devices.getUserMedia({ video, audio: false }).catch((cause: unknown) => {
    const reason = cause instanceof Error ? REASONS[cause.name] : undefined;
    const message = reason ?? 'The camera did not start. Connect another one, or reload the page.';
    throw new MobilesightError('E_IMAGE', message, { cause });
  });
}

function nextFrame(): Promise<number> {
  return new Promise(requestAnimationFrame);
}

/** Calls `onFrame` with one frame after the other; each owns its picture. Ends quietly when `signal` is aborted. */
export async function runCamera(signal: AbortSignal, onFrame: (frame: Picture) => Promise<void>): Promise<void> {
  const stream = await openCamera();
  const release = () => stream.getTracks().forEach((track) => track.stop());
  // At once, not when the frame in hand is done: it may wait for a model's weights.
  signal.addEventListener('abort', release);
  const video = document.createElement('video');
  try {
    let ended = false;
    for (const track of stream.getTracks()) track.addEventListener('ended', () => (ended = true));
    Object.assign(video, { muted: true, playsInline: true, srcObject: stream });
    if (!signal.aborted) await video.play();
    while (!signal.aborted) {
      if (ended) throw new MobilesightError('E_IMAGE', 'The camera was disconnected. Connect it, then start it again.');
      const started = performance.now();
      const image = await createImageBitmap(video);
      await onFrame({ image, name: 'The camera', decode: performance.now() - started });
      await nextFrame();
    }
  } finally {
    release();
    video.srcObject = null;
  }
}
