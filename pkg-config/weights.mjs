// `npm run weights`: TorchVision's own checkpoints, fetched, checked, converted, quantised, and put where the page finds them.
// `npm run weights -- --pictures DIR` quantises by pictures like those to come; without, by the samples of the page, which are few.
import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { mobilesight } from './cli.mjs';
import { readArguments, root } from './run.mjs';

const usage = 'npm run weights [-- --pictures DIR] [-- --site URL]';

// The files as TorchVision names them, with their sizes in MB; the last eight digits of a name begin its SHA-256.
const checkpoints = [
  {
    arch: 'fasterrcnn_mobilenet_v3_large_320_fpn',
    path: 'fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9.pth',
    mb: 74.239,
  },
  { arch: 'fasterrcnn_mobilenet_v3_large_fpn', path: 'fasterrcnn_mobilenet_v3_large_fpn-fb6a3cc7.pth', mb: 74.239 },
  { arch: 'ssdlite320_mobilenet_v3_large', path: 'ssdlite320_mobilenet_v3_large_coco-a79551df.pth', mb: 13.418 },
  { arch: 'lraspp_mobilenet_v3_large', path: 'lraspp_mobilenet_v3_large-d234d4ea.pth', mb: 12.49 },
  // The same on smaller pictures than the preset's 520: the article's low-resolution input.
  { arch: 'lraspp_mobilenet_v3_large', path: 'lraspp_mobilenet_v3_large-d234d4ea.pth', mb: 12.49, resize: 320 },
  { arch: 'deeplabv3_mobilenet_v3_large', path: 'deeplabv3_mobilenet_v3_large-fc3c493d.pth', mb: 42.301 },
  { arch: 'mobilenet_v3_large', path: 'mobilenet_v3_large-5c1a4163.pth', mb: 21.107 },
  { arch: 'mobilenet_v3_small', path: 'mobilenet_v3_small-047dcff4.pth', mb: 9.829 },
  // Trained for int8, so that it is converted as it is.
  { arch: 'quantized_mobilenet_v3_large', path: 'quantized/mobilenet_v3_large_qnnpack-5bcacf28.pth', mb: 21.554 },
];

const unreleased = 'fcn_mobilenet_v3_large';

const defaults = {
  site: 'https://download.pytorch.org/models/',
  files: checkpoints,
  pictures: join(root, 'www/samples'),
  kept: join(homedir(), '.cache/mobilesight/weights'),
  folder: join(root, 'www/models/torchvision'),
};

/** How `file` is called: by its builder, and by its size where that is not the preset's. */
const nameOf = ({ arch, resize }) => (resize === undefined ? arch : `${arch}_${resize}`);

/** The site does not answer at all. */
class Unreachable extends Error {}

/** Says how much of a download is there: on a terminal in one line, elsewhere in a line each quarter. */
function downloadProgress(path, total) {
  let quarters = 0;
  const shown = (bytes) => `Weights: ${path}, ${(bytes / 2 ** 20).toFixed(1)} of ${(total / 2 ** 20).toFixed(1)} MB`;
  return (bytes) => {
    const now = Math.floor((4 * bytes) / total);
    if (process.stderr.isTTY) process.stderr.write(`\r${shown(bytes)}${bytes < total ? '' : '\n'}`);
    else if (now > quarters) console.error(shown(bytes));
    quarters = now;
  };
}

/** The body of `response`, a piece at a time. */
async function download(response, path, mb) {
  const progress = downloadProgress(path, Number(response.headers.get('content-length') ?? mb * 2 ** 20));
  const pieces = [];
  let bytes = 0;
  for await (const piece of response.body) {
    pieces.push(piece);
    bytes += piece.length;
    progress(bytes);
  }
  return Buffer.concat(pieces);
}

/** The checkpoint in the folder `kept`; throws where it cannot be fetched or is not what its name says. */
async function fetchCheckpoint({ path, mb }, { site, kept }) {
  const file = join(kept, path);
  if (existsSync(file)) return file;
  const response = await fetch(new URL(path, site)).catch(() => {
    throw new Unreachable(`Weights: ${site} cannot be reached from here; connect and run it again.`);
  });
  if (!response.ok) throw new Error(`${site}${path} answers ${response.status}.`);
  const bytes = await download(response, path, mb);
  const hash = createHash('sha256').update(bytes).digest('hex');
  const prefix = /-([0-9a-f]{8})\.pth$/.exec(path)[1];
  if (!hash.startsWith(prefix)) throw new Error(`${path} has the SHA-256 ${hash}, not that of its name.`);
  mkdirSync(dirname(file), { recursive: true });
  // Whole or not at all: a file under its own name is a good one.
  writeFileSync(`${file}.part`, bytes);
  renameSync(`${file}.part`, file);
  return file;
}

/** Calls `use` with the options of `mobilesight convert` that give a model its size. */
function withPreset(checkpoint, { resize }, use) {
  if (resize === undefined) return use([]);
  const preset = `${checkpoint}.preset.json`;
  writeFileSync(preset, JSON.stringify({ resize }));
  try {
    return use(['--preset', preset]);
  } finally {
    rmSync(preset);
  }
}

/** The two files of a checkpoint, as the page's index lists them. */
function make(checkpoint, file, { folder, pictures }) {
  const { arch, resize } = file;
  const name = nameOf(file);
  const names = { int8: `${name}.int8.safetensors`, f32: `${name}.f16.safetensors` };
  const [int8, f32] = [join(folder, names.int8), join(folder, names.f32)];
  const isInt8 = arch.startsWith('quantized_');
  const convert = (...args) => mobilesight(`Weights of ${name}`, ['convert', checkpoint, '--arch', arch, ...args]);
  mkdirSync(folder, { recursive: true });
  if (isInt8) convert('-o', int8);
  else {
    withPreset(checkpoint, file, (preset) => convert('--dtype', 'f16', ...preset, '-o', f32));
    mobilesight(`The same in int8`, ['quantize', f32, '--pictures', pictures, '-o', int8]);
  }
  return (isInt8 ? ['int8'] : ['int8', 'f32']).map((dtype) => {
    const bytes = statSync(join(folder, names[dtype])).size;
    return { arch, resize, dtype, file: `./models/torchvision/${names[dtype]}`, bytes };
  });
}

/** The index with what is new in place of what was there of the same models. */
function writeIndex(folder, added) {
  const path = join(folder, 'index.json');
  const before = existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : [];
  const kept = before.filter((entry) => added.every((other) => nameOf(other) !== nameOf(entry)));
  writeFileSync(path, JSON.stringify([...kept, ...added], null, 2));
}

/**
 * Makes the weights of `files`, one after another; those that fail are left out. Throws at the end, in words, when some are missing:
 * in one line where the site does not answer.
 */
export async function makeWeights(options) {
  const all = { ...defaults, ...options };
  const problems = [];
  let unreachable;
  for (const file of all.files) {
    try {
      // A site that does not answer is asked once.
      if (unreachable && !existsSync(join(all.kept, file.path))) continue;
      writeIndex(all.folder, make(await fetchCheckpoint(file, all), file, all));
    } catch (error) {
      if (error instanceof Unreachable) unreachable = error.message;
      else {
        console.error(`Weights: ${nameOf(file)} failed; on with the others.`);
        problems.push(`Weights: no ${nameOf(file)}: ${error.message}`);
      }
    }
  }
  if (unreachable) problems.push(unreachable);
  if (problems.length > 0) throw new Error(problems.join('\n'));
}

async function main() {
  const { values } = readArguments(usage, { pictures: { type: 'string' }, site: { type: 'string' } });
  if (values.pictures) values.pictures = resolve(values.pictures);
  await makeWeights(values);
  if (!values.pictures)
    console.log(
      'Weights: the samples of the page calibrated int8; --pictures with some dozens like those to come does better.',
    );
  console.log(`Weights: in ${defaults.folder}; npm run demo shows them.`);
  console.log(
    `Weights: none of ${unreleased}: TorchVision never released any; mobilesight convert takes those that you train.`,
  );
}

if (process.argv[1] === import.meta.filename)
  await main().catch((error) => {
    console.error(error.message);
    process.exit(1);
  });
