/** Where still pictures come from: samples, a file, drop, paste, an address. Each gives a decoded picture or says why not. */
import { MobilesightError } from 'mobilesight';
import { element } from './dom.ts';
import { SAMPLES, type Sample } from './samples.ts';
import type { Picture } from './state.ts';

/** The longest side that is kept: Safari's canvases on iOS hold 4096 x 4096 pixels at most. */
const MAX_SIDE = 4096;

/** Opens a picture; called at once, so that of two the later one wins. */
export type Open = (source: () => Promise<Picture>) => void;

/** Bytes to a picture, turned as its EXIF says, and made smaller if it is larger than canvases can be. */
export async function decode(blob: Blob, name: string): Promise<Picture> {
  const started = performance.now();
  if (blob.size === 0) throw new MobilesightError('E_IMAGE', `${name} is empty. Choose another picture.`);
  // As the package decodes files, so that a file gives the same here as there.
  const options: ImageBitmapOptions = { colorSpaceConversion: 'none', premultiplyAlpha: 'none' };
  const whole = await createImageBitmap(blob, options).catch((cause: unknown) => {
    const advice = 'Choose a PNG, JPEG, WebP, AVIF or GIF picture that is whole.';
    throw new MobilesightError('E_IMAGE', `${name} cannot be read as a picture. ${advice}`, { cause });
  });
  const image = await limited(whole);
  return { image, name, decode: performance.now() - started };
}

async function limited(image: ImageBitmap): Promise<ImageBitmap> {
  const scale = MAX_SIDE / Math.max(image.width, image.height);
  if (scale >= 1) return image;
  const smaller = await createImageBitmap(image, {
    resizeWidth: Math.max(1, Math.round(image.width * scale)),
    resizeHeight: Math.max(1, Math.round(image.height * scale)),
    resizeQuality: 'high',
  });
  image.close();
  return smaller;
}

/** The picture at an address relative to the page. */
export async function fetchPicture(url: string): Promise<Picture> {
  const name = url.split(/[?#]/)[0]?.split('/').pop() || url;
  const response = await fetch(url).catch((cause: unknown) => {
    const advice = 'Check the connection, and that it is on the same site as this page.';
    throw new MobilesightError('E_IMAGE', `The picture ${url} cannot be fetched. ${advice}`, { cause });
  });
  if (!response.ok) {
    const message = `The picture ${url} cannot be fetched: the server answers ${response.status}. Check its address.`;
    throw new MobilesightError('E_IMAGE', message, { status: response.status });
  }
  const picture = await decode(await response.blob(), name);
  const sample = SAMPLES.find(({ src }) => sameAddress(src, url));
  return sample ? { ...picture, sample } : picture;
}

function sameAddress(a: string, b: string): boolean {
  return new URL(a, document.baseURI).href === new URL(b, document.baseURI).href;
}

/** Fills `list` with a button for each sample. */
export function offerSamples(list: HTMLElement, open: Open): void {
  list.replaceChildren(...SAMPLES.map((sample) => element('li', {}, sampleButton(sample, open))));
}

function sampleButton({ src, alt, credit }: Sample, open: Open): HTMLButtonElement {
  const thumbnail = element('img', { src, alt, width: 64, height: 64, draggable: false });
  const button = element('button', { type: 'button', className: 'sample', title: `${alt} (${credit})` }, thumbnail);
  button.dataset['src'] = src;
  button.addEventListener('click', () => open(() => fetchPicture(src)));
  return button;
}

/** A file by the button. */
export function listenToFile(input: HTMLInputElement, open: Open): void {
  input.addEventListener('change', () => {
    const file = input.files?.[0];
    if (file) open(() => decode(file, file.name));
    // The same file may be chosen again.
    input.value = '';
  });
}

/** A picture dropped anywhere; `zone` gets the class `dropping` while one is held over the page. */
export function listenToDrop(zone: HTMLElement, open: Open): void {
  const holdsFile = (event: DragEvent) => event.dataTransfer?.types.includes('Files') ?? false;
  document.addEventListener('dragover', (event) => {
    event.preventDefault();
    zone.classList.toggle('dropping', holdsFile(event));
  });
  document.addEventListener('dragleave', (event) => {
    if (!event.relatedTarget) zone.classList.remove('dropping');
  });
  document.addEventListener('drop', (event) => {
    event.preventDefault();
    zone.classList.remove('dropping');
    openFirst(event.dataTransfer, 'What was dropped is not a file. Save the picture first, then drop the file.', open);
  });
}

/** A picture pasted anywhere. */
export function listenToPaste(open: Open): void {
  document.addEventListener('paste', (event) => {
    openFirst(event.clipboardData, 'The clipboard holds no picture. Copy a picture, not its address or text.', open);
  });
}

function openFirst(data: DataTransfer | null, otherwise: string, open: Open): void {
  const file = data?.files[0];
  open(async () => {
    if (!file) throw new MobilesightError('E_IMAGE', otherwise);
    return decode(file, file.name || 'The pasted picture');
  });
}
