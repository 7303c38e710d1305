// A static server on localhost with the headers that shared memory needs. It notes what was asked for, since that is what an
// engine costs in bytes.
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname, join, normalize } from 'node:path';

const types = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.mjs': 'text/javascript',
  '.wasm': 'application/wasm',
};

const headers = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'same-origin',
  // Every load is a first one.
  'Cache-Control': 'no-store',
};

/** The file that `path` names in one of `folders`, which are keyed by their prefix. */
function locate(folders, path) {
  const prefix = Object.keys(folders).find((prefix) => path.startsWith(prefix));
  if (!prefix) return undefined;
  const inside = normalize(path.slice(prefix.length));
  return inside.startsWith('..') ? undefined : join(folders[prefix], inside);
}

/**
 * Serves `folders` ({ '/prefix/': folder }) and `files` (a Map from path to bytes, to where the file is, or to a function that makes
 * the bytes), which the caller may add to. `requested` is the Set of paths asked for since the caller last cleared it; `read` gives the bytes behind a path.
 */
export async function serve(folders, files) {
  const requested = new Set();
  const read = async (path) => {
    const file = files.get(path) ?? locate(folders, path);
    if (file === undefined) throw new Error(`${path} is not served`);
    if (typeof file === 'function') return file();
    return typeof file === 'string' ? readFile(file) : file;
  };
  const server = createServer(async (request, response) => {
    const path = decodeURIComponent(new URL(request.url, 'http://localhost').pathname);
    try {
      const bytes = await read(path);
      requested.add(path);
      const type = types[extname(path)] ?? 'application/octet-stream';
      response.writeHead(200, { ...headers, 'Content-Type': type, 'Content-Length': bytes.length });
      response.end(bytes);
    } catch {
      response.writeHead(404, headers).end();
    }
  });
  await new Promise((resolve) => server.listen(0, 'localhost', resolve));
  return { origin: `http://localhost:${server.address().port}`, requested, read, close: () => server.close() };
}
