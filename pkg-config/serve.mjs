// Serves a folder on localhost, fresh from the disk at each request.
import { createServer } from 'node:http';
import sirv from 'sirv';

// Threads share memory, which a browser gives to isolated pages only.
const isolated = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
};

/** Serves `folder`; port 0 takes a free one. Without `isolation` the page has one thread. Gives { url, close }. */
export function serve(folder, { port = 0, isolation = true } = {}) {
  const setHeaders = (response) =>
    Object.entries(isolation ? isolated : {}).forEach((header) => response.setHeader(...header));
  const server = createServer(sirv(folder, { dev: true, setHeaders }));
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, 'localhost', () => {
      const url = `http://localhost:${server.address().port}/`;
      resolve({ url, close: () => server.close() });
    });
  });
}
