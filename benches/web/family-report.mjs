// benches/FAMILY.md, and the columns of README.md that a browser fills in.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ratio } from './goals.mjs';
import { circumstances, megabytes, table, times } from './markdown.mjs';

const ms = (value) => value.toFixed(value < 100 ? 1 : 0);

function section(results) {
  const { runs, machine } = results;
  const f32Of = ({ model }) => runs.find((run) => run.model === model && run.dtype === 'f32');
  const rows = runs.map((run) => {
    const f32 = run.dtype === 'int8' && f32Of(run);
    return [
      `\`${run.model}\``,
      run.dtype,
      run.input,
      megabytes(run.weights_bytes),
      ms(run.median_ms),
      ms(run.min_ms),
      `${run.spread_percent.toFixed(0)} %`,
      times(ratio(f32, run)),
      ms(run.load_ms),
      megabytes(run.peak_bytes),
    ];
  });
  const head = [
    'model',
    'dtype',
    'picture',
    'file MB',
    'median ms',
    'minimum ms',
    'spread',
    'over own f32',
    'load ms',
    'memory MB',
  ];
  return `# Every model in the browser

By \`npm run bench -- --family\` on ${machine}; ${circumstances(results)}.

One thread; the median is that of the launches' medians, and a run is from RGBA to boxes, mask or classes. [README.md](README.md) says how.

The registry's models have generated weights and see a generated picture of their own preset's size; Faster R-CNN keeps all the proposals that its
preset allows, 150 and 1000: no square picture costs more. Their int8 files have every layer in int8 that can be. The default weights are those of
\`www/models\` on a photo; their f32 files hold F16.

${table(head, rows)}`;
}

/** `text` with what lies between the comments `name` changed by `edit`. */
function between(text, name, edit) {
  const [open, close] = [`<!-- ${name} -->\n`, `\n<!-- /${name} -->`];
  const [from, to] = [text.indexOf(open) + open.length, text.indexOf(close)];
  if (from < open.length || to < from)
    throw new Error(`README.md lacks the lines <!-- ${name} --> and <!-- /${name} -->`);
  return text.slice(0, from) + edit(text.slice(from, to)) + text.slice(to);
}

/** A Markdown table with the columns from `first` on taken from `cells(key)`, the key a row's first cell; others stay. */
function withColumns(markdown, first, cells) {
  const split = (line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim());
  const at = split(markdown.split('\n').find((line) => line.includes(first))).indexOf(first);
  const filled = markdown.split('\n').map((line) => {
    const row = split(line);
    const found = row.length > 0 && cells(row[0]);
    return found ? `| ${[...row.slice(0, at), ...found].join(' | ')} |` : line;
  });
  return filled.join('\n');
}

/** README.md with the files and times of `runs`. */
export function withTimes(readme, runs, caption) {
  const find = (model, dtype) => runs.find((run) => run.model === model && run.dtype === dtype);
  const time = (run) => (run ? `${ms(run.median_ms)} ms` : '');
  const registry = (key) => {
    const name = key.replaceAll('`', '');
    const [f32, int8] = [find(name, 'f32'), find(name, 'int8')];
    return int8 && [`${megabytes(int8.weights_bytes)} MB`, time(f32), time(int8)];
  };
  const defaults = (key) => {
    const run = find(`default-${key.split(', ')[0]}`, key.split(', ')[1]);
    return run && [time(run)];
  };
  const changes = [
    ['family', (text) => withColumns(text, 'int8 file', registry)],
    ['defaults', (text) => withColumns(text, 'in the browser', defaults)],
    ['family-run', () => caption],
  ];
  return changes.reduce((text, [name, edit]) => between(text, name, edit), readme);
}

/** Writes benches/FAMILY.md and README.md's columns; a quick run is shown only. */
export function writeFamily(root, results) {
  const { runs, machine, protocol } = results;
  const report = section(results);
  console.log(report);
  if (protocol.quick) return console.log('FAMILY.md and README.md take thorough runs only: they stay as they are');
  const caption = `The browser's times are medians of one thread, on ${machine}; ${circumstances(results)}.`;
  const readme = join(root, 'README.md');
  const filled = withTimes(readFileSync(readme, 'utf8'), runs, caption);
  writeFileSync(readme, filled);
  writeFileSync(join(root, 'benches/FAMILY.md'), report);
}
