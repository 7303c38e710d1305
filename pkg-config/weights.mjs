// `npm run weights`: TorchVision's own checkpoints, fetched, checked, converted and put where the page finds them.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { Buffer } from 'node:buffer';
import { join } from 'node:path';
import { root, step } from './run.mjs';
import { cache } from './variants.mjs';

const site = 'https://download.pytorch.org/models/';
const kept = join(homedir(), '.cache/mobilesight/weights');

// The files as TorchVision names them, with their sizes in MB; the last eight digits of a name begin its SHA-256.
const files = [
  {
    arch: 'fasterrcnn_mobilenet_v3_large_320_fpn',
    path: 'fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9.pth',
    mb: 74.239,
  },
  { arch: 'fasterrcnn_mobilenet_v3_large_fpn', path: 'fasterrcnn_mobilenet_v3_large_fpn-fb6a3cc7.pth', mb: 74.239 },
  { arch: 'ssdlite320_mobilenet_v3_large', path: 'ssdlite320_mobilenet_v3_large_coco-a79551df.pth', mb: 13.418 },
  { arch: 'lraspp_mobilenet_v3_large', path: 'lraspp_mobilenet_v3_large-d234d4ea.pth', mb: 12.49 },
  { arch: 'deeplabv3_mobilenet_v3_large', path: 'deeplabv3_mobilenet_v3_large-fc3c493d.pth', mb: 42.301 },
  { arch: 'mobilenet_v3_large', path: 'mobilenet_v3_large-5c1a4163.pth', mb: 21.107 },
  { arch: 'mobilenet_v3_small', path: 'mobilenet_v3_small-047dcff4.pth', mb: 9.829 },
];

/** The checkpoint in the machine's cache; throws where it cannot be fetched or is not what its name says. */
async function fetchCheckpoint({ path, mb }) {
  const file = join(kept, path);
  if (existsSync(file)) return file;
  const response = await fetch(site + path);
  if (!response.ok) throw new Error(`${site}${path} answers ${response.status}.`);
  console.log(`Weights: fetching ${path}, ${mb} MB`);
  const bytes = Buffer.from(await response.arrayBuffer());
  const hash = createHash('sha256').update(bytes).digest('hex');
  const prefix = /-([0-9a-f]{8})\.pth$/.exec(path)[1];
  if (!hash.startsWith(prefix)) throw new Error(`${path} has the SHA-256 ${hash}, which its name does not begin.`);
  mkdirSync(kept, { recursive: true });
  // Whole or not at all: a file under its own name is a good one.
  writeFileSync(`${file}.part`, bytes);
  renameSync(`${file}.part`, file);
  return file;
}

function convert(checkpoint, arch) {
  const out = join(root, 'www/models/torchvision', `${arch}.f16.safetensors`);
  mkdirSync(join(root, 'www/models/torchvision'), { recursive: true });
  const program = ['run', '--locked', '--release', '--quiet', '--features', 'cli', '--bin', 'mobilesight', '--'];
  const args = ['convert', checkpoint, '--arch', arch, '--dtype', 'f16', '-o', out];
  step(`Weights of ${arch}`, 'cargo', [...program, ...args], { env: { CARGO_TARGET_DIR: cache } });
  console.log(`${out}: ${(readFileSync(out).length / 1e6).toFixed(1)} MB`);
}

for (const file of files) {
  try {
    convert(await fetchCheckpoint(file), file.arch);
  } catch (error) {
    const offline = error instanceof TypeError;
    console.error(offline ? `Weights: ${site} cannot be reached from here; connect and run it again.` : error.message);
    process.exit(1);
  }
}
