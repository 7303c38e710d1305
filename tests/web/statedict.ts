/**
 * A file as `save_file(lraspp_mobilenet_v3_large(num_classes=11).state_dict())` writes it, without metadata: the shipped
 * segmenter, a narrower network, in TorchVision's own widths. The channels that it lacks are zero, and stay so in every layer.
 */

interface Entry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

/** TorchVision's table: channels in, expanded and out of each block. */
const ROWS: readonly [number, number, number][] = [
  [16, 16, 16],
  [16, 64, 24],
  [24, 72, 24],
  [24, 72, 40],
  [40, 120, 40],
  [40, 120, 40],
  [40, 240, 80],
  [80, 200, 80],
  [80, 184, 80],
  [80, 184, 80],
  [80, 480, 112],
  [112, 672, 112],
  [112, 672, 160],
  [160, 960, 160],
  [160, 960, 160],
];
const LAST = 960;
const LOW = 40;
const BYTES = 2;

/** _make_divisible of TorchVision for whole channels. */
function divisible(channels: number): number {
  const near = Math.max(8, Math.floor((channels + 4) / 8) * 8);
  return near < 0.9 * channels ? near + 8 : near;
}

/** The first two sizes of a block's tensor `leaf`, as in `1.0.weight`, where the shipped one has `shape`. */
function blockShape(block: number, leaf: string, shape: number[], names: ReadonlySet<string>): [number, number] {
  const [input, expanded, out] = ROWS[block - 1] ?? [0, 0, 0];
  const [layer = '', part = ''] = leaf.split('.');
  const squeeze = divisible(Math.floor(expanded / 4));
  if (part === 'fc1') return [squeeze, expanded];
  if (part === 'fc2') return [expanded, squeeze];
  const last = !names.has(`backbone.${block}.block.${Number(layer) + 1}.0.weight`) && Number(layer) > 0;
  const squeezes = names.has(`backbone.${block}.block.${Number(layer) + 1}.fc1.weight`);
  if (last && !squeezes) return [out, expanded];
  return [expanded, shape[1] === 1 ? 1 : input];
}

/** The sizes of TorchVision's tensor. */
function fullShape(name: string, shape: number[], names: ReadonlySet<string>): number[] {
  const block = /^backbone\.(\d+)\.block\.(.+)$/.exec(name);
  let first: [number, number] = [shape[0] ?? 0, shape[1] ?? 0];
  if (block) first = blockShape(Number(block[1]), block[2] ?? '', shape, names);
  else if (name.startsWith('backbone.16')) first = [LAST, ROWS.at(-1)?.[2] ?? 0];
  else if (/classifier\.(cbr\.0|scale\.1)\.weight/.test(name)) first[1] = LAST;
  else if (name === 'classifier.low_classifier.weight') first[1] = LOW;
  return [...first, ...shape.slice(2)].slice(0, shape.length);
}

/** `data` of `shape` at the beginning of each axis of `full`. */
function padded(data: Buffer, shape: number[], full: number[]): Buffer {
  const size = (sizes: number[]) => sizes.reduce((product, n) => product * n, BYTES);
  const result = Buffer.alloc(size(full));
  const [row, fullRow] = [size(shape.slice(1)), size(full.slice(1))];
  for (let o = 0; o < (shape[0] ?? 0); o++) data.copy(result, o * fullRow, o * row, (o + 1) * row);
  return result;
}

/** Rewrites the shipped file. */
export function plainStateDict(shipped: Buffer): Buffer {
  const start = 8 + Number(shipped.readBigUInt64LE());
  const { __metadata__, ...entries } = JSON.parse(shipped.toString('utf8', 8, start)) as Record<string, Entry>;
  if (!__metadata__) throw new Error('The shipped weights have no metadata.');
  const names = new Set(Object.keys(entries));
  const header: Record<string, Entry> = {};
  const parts: Buffer[] = [];
  let at = 0;
  for (const [name, { dtype, shape, data_offsets: offsets }] of Object.entries(entries)) {
    const full = fullShape(name, shape, names);
    const data = shipped.subarray(start + offsets[0], start + offsets[1]);
    parts.push(padded(data, shape, full));
    const end = at + (parts.at(-1)?.length ?? 0);
    header[name] = { dtype, shape: full, data_offsets: [at, end] };
    at = end;
  }
  const text = JSON.stringify(header);
  const json = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, ...parts]);
}
