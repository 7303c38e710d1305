// What many runs in several launches come to.

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/**
 * One contestant's `launches` (what turns.mjs measured in each): the median of the launches' medians, the best run of all, the
 * spread of the launches' medians about their median in per cent.
 */
export function summary(launches) {
  const medians = launches.map(({ turns }) => median(turns.flat()));
  const over = (pick) => median(launches.map(pick));
  return {
    median_ms: median(medians),
    min_ms: Math.min(...launches.flatMap(({ turns }) => turns.flat())),
    spread_percent: ((Math.max(...medians) - Math.min(...medians)) / median(medians)) * 100,
    first_ms: over(({ first_ms }) => first_ms),
    load_ms: over(({ load_ms }) => load_ms),
    peak_bytes: Math.max(...launches.map(({ peak_bytes }) => peak_bytes)),
    launch_medians_ms: medians,
    turn_medians_ms: launches.flatMap(({ turns }) => turns.map(median)),
  };
}

/** [{ name, ms }] of the `launches`' profiles, each launch's several: of each layer the median of the launches' medians, as for runs. */
export function medianLayers(launches) {
  const over = (lists, i) => median(lists.map((layers) => layers[i].ms));
  return launches[0][0].map(({ name }, i) => ({ name, ms: median(launches.map((profiles) => over(profiles, i))) }));
}
