/**
 * The page: a picture from any source goes through the chosen models, and what they find is drawn and listed. Whatever is
 * started later aborts what was started before, so the last choice wins.
 */
import { runCamera } from './camera.ts';
import { byId } from './dom.ts';
import { clearErrors, hideProgress, say, showError, showProgress } from './feedback.ts';
import { buildMenu } from './menu.ts';
import { MODELS, taskTitle } from './models.ts';
import { showEngine, showFindings, showTimings } from './panel.ts';
import { run } from './runner.ts';
import { fetchPicture, listenToDrop, listenToFile, listenToPaste, offerSamples } from './sources.ts';
import { RunTimes, allOutcomes, initialChoices, setPageState, shownOutcomes, shownRows } from './state.ts';
import type { Picture, Shot } from './state.ts';
import { torchvisionRows } from './torchvision.ts';
import { draw } from './view.ts';

const NOTHING_ON = 'Nothing is switched on: choose what to show.';

/** A camera's findings change with each frame; they are said no more often than this, in milliseconds. */
const SAY_EVERY = 3000;

const canvas = byId('canvas', HTMLCanvasElement);
const threshold = byId('threshold', HTMLInputElement);
const opacity = byId('opacity', HTMLInputElement);
const webcam = byId('webcam', HTMLButtonElement);

const choices = initialChoices([...MODELS, ...(await torchvisionRows())]);
const times = new RunTimes();
const showTimes = buildMenu(byId('menu', HTMLElement), choices, update);
let shot: Shot | undefined;
let current = new AbortController();
let cameraOn = false;
/** Whether a picture is on its way, to be run through what is chosen when it is there. */
let opening = false;
let lastSaid = -Infinity;
/** What the alert's button does. */
let again: () => void = update;

/** Aborts what goes on and starts anew. */
function begin(): AbortSignal {
  current.abort();
  current = new AbortController();
  clearErrors();
  hideProgress();
  setPageState('loading');
  opening = false;
  return current.signal;
}

/** Draws and lists what is known of the picture, with the present choices. */
function render(): void {
  threshold.labels?.[0]?.querySelector('output')?.replaceChildren(Number(threshold.value).toFixed(2));
  opacity.labels?.[0]?.querySelector('output')?.replaceChildren(`${Math.round(Number(opacity.value) * 100)}%`);
  if (!shot) return;
  const { picture } = shot;
  const shown = shownOutcomes(shot, choices);
  draw(canvas, picture, shown, { threshold: Number(threshold.value), opacity: Number(opacity.value) });
  const findings = showFindings(shown, Number(threshold.value));
  showTimings(allOutcomes(shot, choices), picture.decode);
  showEngine(allOutcomes(shot, choices));
  canvas.setAttribute('aria-label', findings ? `${picture.name}. ${findings}` : picture.name);
  if (cameraOn && shownRows(choices).length === 0) say(NOTHING_ON);
  if (!findings || (cameraOn && performance.now() - lastSaid < SAY_EVERY)) return;
  lastSaid = performance.now();
  say(`${findings}.`);
}

/** Makes `next` the page's picture. The former one's pixels are freed: no run needs them any more. */
function show(next: Shot): void {
  if (shot && shot !== next) shot.picture.image.close();
  shot = next;
  document.body.classList.add('has-picture');
  const { name, image, sample } = next.picture;
  const parts = [name, `${image.width} × ${image.height}`, ...(sample ? [sample.credit] : [])];
  byId('caption', HTMLElement).textContent = parts.join(' · ');
  for (const button of document.querySelectorAll<HTMLElement>('.sample')) {
    button.setAttribute('aria-current', `${button.dataset['src'] === sample?.src}`);
  }
  render();
}

/** Runs the chosen models that have not run on the picture yet. True if all went well; false, too, when aborted. */
async function analyse({ picture, outcomes }: Shot, signal: AbortSignal, onOutcome: () => void): Promise<boolean> {
  let well = true;
  for (const row of shownRows(choices).filter((row) => !outcomes.has(row))) {
    try {
      setPageState('loading');
      if (!cameraOn) say(`${taskTitle(row.task)}: loading…`);
      const outcome = await run(row, picture.image, signal, {
        onProgress: (progress) => {
          if (!signal.aborted) showProgress(row, progress);
        },
        onStart: () => {
          hideProgress();
          setPageState('running');
          if (!cameraOn) say(`${taskTitle(row.task)}: running…`);
        },
      });
      if (signal.aborted) return false;
      outcomes.set(row, outcome);
      times.note(outcome);
      showTimes(times);
      onOutcome();
    } catch (error) {
      if (signal.aborted) return false;
      hideProgress();
      showError(error, row);
      well = false;
    }
  }
  return well;
}

/** Ends a run that was not aborted. */
function finish(well: boolean): void {
  hideProgress();
  // The alert says what went wrong; the status says what is known none the less.
  const found = shot !== undefined && shownOutcomes(shot, choices).length > 0;
  if (!found) say(well && shot ? NOTHING_ON : '');
  render();
  setPageState(well ? (shot ? 'done' : 'idle') : 'error');
}

/** Opens a picture and runs the models on it. */
async function open(source: () => Promise<Picture>): Promise<void> {
  const signal = begin();
  again = () => void open(source);
  opening = true;
  say('Opening the picture…');
  try {
    const picture = await source();
    if (signal.aborted) return picture.image.close();
    again = update;
    opening = false;
    show({ picture, outcomes: new Map() });
    await analyseShown(signal);
  } catch (error) {
    if (signal.aborted) return;
    opening = false;
    showError(error);
    finish(false);
  }
}

async function analyseShown(signal: AbortSignal): Promise<void> {
  const well = shot ? await analyse(shot, signal, render) : true;
  if (!signal.aborted) finish(well);
}

/** After a choice has changed: runs what is missing. A camera's next frame does so by itself, as does a picture that opens. */
function update(): void {
  render();
  if (cameraOn || opening) return;
  again = update;
  void analyseShown(begin());
}

/** A frame is shown together with what was found on it: without, boxes would flicker. The first one is shown at once. */
async function analyseFrame(picture: Picture, signal: AbortSignal, first: boolean): Promise<void> {
  const frame: Shot = { picture, outcomes: new Map() };
  if (first) show(frame);
  const well = await analyse(frame, signal, () => undefined);
  if (signal.aborted) return first ? undefined : picture.image.close();
  show(frame);
  if (well) return setPageState('done');
  finish(false);
  current.abort();
}

async function startCamera(): Promise<void> {
  const signal = begin();
  again = () => void startCamera();
  setCamera(true);
  lastSaid = -Infinity;
  signal.addEventListener('abort', () => setCamera(false));
  say('Starting the camera…');
  let first = true;
  try {
    await runCamera(signal, async (picture) => {
      const wasFirst = first;
      first = false;
      await analyseFrame(picture, signal, wasFirst);
    });
  } catch (error) {
    if (signal.aborted) return;
    current.abort();
    showError(error);
    finish(false);
  }
}

function setCamera(on: boolean): void {
  cameraOn = on;
  webcam.classList.toggle('on', on);
  webcam.textContent = on ? 'Stop camera' : 'Start camera';
}

/** The last frame stays, with the sliders and the menu at work on it. */
function stopCamera(): void {
  again = update;
  void analyseShown(begin());
}

function start(): void {
  const openPicture = (source: () => Promise<Picture>) => void open(source);
  offerSamples(byId('samples', HTMLElement), openPicture);
  listenToFile(byId('file', HTMLInputElement), openPicture);
  listenToDrop(document.body, openPicture);
  listenToPaste(openPicture);
  webcam.addEventListener('click', () => void (cameraOn ? stopCamera() : startCamera()));
  byId('retry', HTMLButtonElement).addEventListener('click', () => {
    // The button goes with its alert; the focus would fall back to the page's top.
    byId('stage', HTMLElement).focus({ preventScroll: true });
    again();
  });
  threshold.addEventListener('input', render);
  opacity.addEventListener('input', render);
  window.addEventListener('resize', render);

  const parameters = new URLSearchParams(location.search);
  threshold.value = parameters.get('threshold') ?? threshold.value;
  showEngine([]);
  render();
  setPageState('idle');
  const picture = parameters.get('picture');
  if (picture) openPicture(() => fetchPicture(picture));
}

start();
