/** Every form of a picture gives equal results, and stays its owner's. */
import type { JSHandle, Page } from '@playwright/test';
import type { Detection, Detector, ImageSource } from 'mobilesight';
import { ASTRONAUT, DETECTOR, expect, iou, test } from './support.ts';

const createDetector = (page: Page) =>
  page.evaluateHandle((weights) => mobilesight.createDetector({ weights }), DETECTOR);

/** What the detector finds on a picture that `make` gives in the page. */
async function detect(
  page: Page,
  detector: JSHandle<Detector>,
  make: (url: string) => ImageSource | Promise<ImageSource>,
): Promise<Detection[]> {
  const image = await page.evaluateHandle(make, ASTRONAUT);
  const { detections } = await detector.evaluate((model, image) => model.detect(image), image as JSHandle<ImageSource>);
  return detections;
}

const forms: Record<string, (url: string) => ImageSource | Promise<ImageSource>> = {
  'URL relative to the page': (url) => url,
  'whole URL': (url) => new URL(url, document.baseURI).href,
  'blob URL': async (url) => URL.createObjectURL(await inside.file(url)),
  Blob: (url) => inside.file(url),
  File: async (url) => new File([await inside.file(url)], 'astronaut.png'),
  ImageBitmap: async (url) => createImageBitmap(await inside.file(url)),
  ImageData: async (url) => inside.stored(await inside.file(url)),
  '<img>': (url) => inside.imageElement(url),
  '<img>, shown small': async (url) => {
    const image = Object.assign(await inside.imageElement(url), { width: 40, height: 90 });
    document.body.append(image);
    return image;
  },
  '<canvas>': async (url) => inside.onCanvas(await inside.stored(await inside.file(url))),
  OffscreenCanvas: async (url) => {
    const image = await inside.stored(await inside.file(url));
    const canvas = new OffscreenCanvas(image.width, image.height);
    canvas.getContext('2d')?.putImageData(image, 0, 0);
    return canvas;
  },
  VideoFrame: async (url) => {
    const canvas = inside.onCanvas(await inside.stored(await inside.file(url)));
    return new VideoFrame(canvas, { timestamp: 0 });
  },
};

test('every lossless form of a picture gives the same boxes', { tag: '@both' }, async ({ blank }) => {
  const detector = await createDetector(blank);
  const wanted = await detect(blank, detector, (url) => url);
  expect(wanted[0]?.label).toBe('person');
  for (const [form, make] of Object.entries(forms)) {
    expect(await detect(blank, detector, make), form).toEqual(wanted);
  }
});

test('alpha is ignored', async ({ blank }) => {
  const detector = await createDetector(blank);
  const wanted = await detect(blank, detector, (url) => url);
  const found = await detect(blank, detector, async (url) => {
    const image = await inside.stored(await inside.file(url));
    image.data.forEach((_, i) => {
      if (i % 4 === 3) image.data[i] = 0;
    });
    return image;
  });
  expect(found).toEqual(wanted);
});

test("a video's frame gives the boxes of its picture", async ({ blank }) => {
  const detector = await createDetector(blank);
  const wanted = await detect(blank, detector, (url) => url);
  const found = await detect(blank, detector, async (url) => {
    const canvas = inside.onCanvas(await inside.stored(await inside.file(url)));
    const video = Object.assign(document.createElement('video'), { muted: true, srcObject: canvas.captureStream() });
    const shown = new Promise((resolve) => video.addEventListener('loadeddata', resolve));
    // A stream has its first frame when its canvas is drawn on.
    const redraw = setInterval(() => canvas.getContext('2d')?.fillRect(0, 0, 1, 1), 50);
    await Promise.all([video.play(), shown]);
    clearInterval(redraw);
    return video;
  });
  // Video has other colours: fewer values a channel.
  expect(found[0]?.label).toBe('person');
  const [box, wantedBox] = [found[0]?.box, wanted[0]?.box];
  expect(box && wantedBox && iou(box, wantedBox)).toBeGreaterThan(0.95);
});

test("the caller's picture can be used again", async ({ blank }) => {
  const detector = await createDetector(blank);
  const seen = await detector.evaluate(async (model, url) => {
    const blob = await inside.file(url);
    const [bitmap, data] = [await createImageBitmap(blob), await inside.stored(blob)];
    const before = data.data.slice();
    const canvas = inside.onCanvas(data);
    const frame = new VideoFrame(canvas, { timestamp: 0 });
    const scores = [];
    for (const image of [bitmap, data, frame, canvas, bitmap, data, frame, canvas]) {
      scores.push((await model.detect(image)).detections[0]?.score);
    }
    const untouched = data.data.every((value, i) => value === before[i]);
    return { scores, untouched, width: bitmap.width, format: frame.format };
  }, ASTRONAUT);
  expect(new Set(seen.scores).size).toBe(1);
  expect(seen).toMatchObject({ untouched: true, width: 512 });
  expect(seen.format).not.toBeNull();
});

test('the picture is that of the time of the call', async ({ blank }) => {
  const detector = await createDetector(blank);
  const [before, after] = await detector.evaluate(async (model, url) => {
    const canvas = inside.onCanvas(await inside.stored(await inside.file(url)));
    const call = model.detect(canvas);
    // Drawn on while the call waits.
    const first = model.detect(canvas);
    canvas.getContext('2d')?.fillRect(0, 0, canvas.width, canvas.height);
    return [(await call).detections, (await first).detections];
  }, ASTRONAUT);
  expect(before?.[0]?.label).toBe('person');
  expect(after).toEqual(before);
});

test.describe('a JPEG that its Exif turns', () => {
  const sources: Record<string, (blob: Blob) => ImageSource | Promise<ImageSource>> = {
    Blob: (blob) => blob,
    URL: (blob) => URL.createObjectURL(blob),
    '<img>': (blob) => inside.imageElement(URL.createObjectURL(blob)),
  };

  test('gives the boxes of the upright picture', async ({ blank }) => {
    const detector = await createDetector(blank);
    // The upright picture is the stored one, turned: JPEG's own loss is the same in both.
    const files = await blank.evaluateHandle(async (url) => {
      const lying = inside.turned(await inside.stored(await inside.file(url)), false);
      const plain = await inside.encoded(inside.onCanvas(lying), 'image/jpeg');
      const upright = inside.turned(await inside.stored(plain), true);
      return { upright, tagged: await inside.withOrientation(plain, 6) };
    }, './samples/coffee.png');
    const upright = await files.getProperty('upright');
    const tagged = await files.getProperty('tagged');
    const wanted = await detector.evaluate((model, image) => model.detect(image), upright);
    expect(wanted.detections.length).toBeGreaterThan(2);
    for (const [form, make] of Object.entries(sources)) {
      const source = await tagged.evaluateHandle(make);
      const found = await detector.evaluate((model, image) => model.detect(image), source as JSHandle<ImageSource>);
      expect([found.width, found.height], form).toEqual([600, 400]);
      expect(found.detections, form).toEqual(wanted.detections);
    }
  });
});
