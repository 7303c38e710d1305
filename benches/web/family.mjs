// `--family`: how long every model of the registry takes in the browser at its own preset's size, and the default weights.
import { join } from 'node:path';
import { mobilesightJson } from '../../pkg-config/cli.mjs';
import { root } from '../../pkg-config/run.mjs';
import { time } from './contest.mjs';
import { picture } from './generator.mjs';
import { models as benched } from './models.mjs';
import { generatedWeights, quantisedWeights } from './weights.mjs';

const generatorArgs = ['--family'];

// Generated weights propose by chance: all that the preset keeps at most, so that the work is defined.
const allProposals = { rpn: { scoreThreshold: 0, nmsThreshold: 1 } };

/** The files of the registry's models, with generated weights, by dtype. */
function registryModels() {
  const { models } = mobilesightJson(['models']);
  const floats = models.filter((model) => !model.is_int8).map(({ arch }) => arch);
  const folders = { f32: generatedWeights(generatorArgs), int8: quantisedWeights(floats, generatorArgs) };
  return models.map(({ arch, task, is_int8, input: [height, width] }) => {
    const file = (folder, dtype) => join(folder, `${arch}.${dtype}.safetensors`);
    const files = is_int8
      ? { int8: file(folders.f32, 'int8') }
      : { f32: file(folders.f32, 'f32'), int8: file(folders.int8, 'int8') };
    return { name: arch, task, picture: { height, width }, options: allProposals, files };
  });
}

/** The default weights, on the photos that the bench shows them. */
function defaultModels() {
  const folder = join(root, 'www/models');
  return benched
    .filter(({ weights }) => weights)
    .map(({ name, task, picture, weights }) => {
      const files = { f32: `${weights}.f16.safetensors`, int8: `${weights}.int8.safetensors` };
      const paths = Object.entries(files).map(([dtype, file]) => [dtype, join(folder, file)]);
      return { name, task, picture, files: Object.fromEntries(paths) };
    });
}

/** The contestants of a model, a file each; files and picture are added to `served`. */
function enter({ files, ...model }, served) {
  const { height, width } = model.picture;
  if (height) served.set(`/picture/${height}x${width}`, () => picture(height, width));
  return Object.entries(files).map(([dtype, path]) => {
    const weights = `/weights/${model.name}.${dtype}.safetensors`;
    served.set(weights, path);
    return { engine: 'mobilesight', model, dtype, threads: 1, weights };
  });
}

/** Times them all on `server`, whose `served` files they are added to: { limits, browser, runs }. */
export async function measureFamily(server, served, options) {
  const models = [...registryModels(), ...defaultModels()];
  const { limits, browser, runs } = await time(
    models.flatMap((model) => enter(model, served)),
    server,
    options,
  );
  const inputOf = ({ picture: { sample, height, width } }) => sample ?? `${height} x ${width}`;
  const inputs = Object.fromEntries(models.map((model) => [model.name, inputOf(model)]));
  return { limits, browser, runs: runs.map((run) => ({ ...run, input: inputs[run.model] })) };
}
