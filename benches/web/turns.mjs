// Contestants in one browser, all of them loaded, that take turns: a host that is busy for seconds is so for all of them.

/** A launch's timed runs, a multiple of it, are made in as many turns. */
export const turns = 5;

/** What worker.js is told first: to load a contestant and run it, `warm` times more than once. */
export function start({ engine, model, dtype, threads, weights }, warm) {
  const { task, options } = model;
  const { sample, height, width } = model.picture;
  const picture = sample ? { url: `/samples/${sample}` } : { url: `/picture/${height}x${width}`, height, width };
  return { step: 'start', job: { engine, task, dtype, threads, weights, options, picture }, warm };
}

/**
 * Loads `contestants` and times them in turns, the limit by `measureLimit` before each: { limits, players }, a player for each contestant with { contestant, measured: { load_ms,
 * first_ms, turns: [[ms]], parts, peak_bytes, profiles }, requested }, the paths that it asked of the server, and `error` where it failed.
 */
export async function takeTurns(browser, server, contestants, { warm, runs, profiles = 0 }, measureLimit) {
  const players = contestants.map((contestant) => ({ contestant, measured: { turns: [], parts: [] } }));
  // What fails is out, and the others go on.
  const each = async (work) => {
    for (const player of players.filter(({ error }) => !error)) {
      await work(player).catch(({ message }) => (player.error = message));
    }
  };
  await each(async (player) => {
    server.requested.clear();
    player.worker = await browser.open('/bench/worker.js');
    Object.assign(player.measured, await player.worker.ask(start(player.contestant, warm)));
    player.requested = [...server.requested];
  });
  const limits = [];
  for (let turn = 0; turn < turns; turn++) {
    limits.push(await measureLimit());
    await each(async ({ worker, measured }) => {
      const { times, parts } = await worker.ask({ step: 'turn', runs: runs / turns });
      measured.turns.push(times);
      measured.parts.push(...parts);
    });
  }
  await each(async ({ contestant, worker, measured }) => {
    const asked = contestant.engine === 'mobilesight' ? profiles : 0;
    Object.assign(measured, await worker.ask({ step: 'end', profiles: asked }));
  });
  for (const { worker } of players) await worker?.close();
  return { limits, players };
}
