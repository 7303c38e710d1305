/** What is moved with a message. */

/** The buffers of `views`, each once. */
export function buffersOf(views: readonly (ArrayBufferView | undefined)[]): ArrayBuffer[] {
  return [...new Set(views.flatMap((view) => (view ? [view.buffer as ArrayBuffer] : [])))];
}
