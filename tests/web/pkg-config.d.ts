/** The types of the scripts of pkg-config that the tests use. */
declare module '*/pkg-config/chromium.mjs' {
  export const chromiumArgs: string[];
}

declare module '*/pkg-config/serve.mjs' {
  export function serve(
    folder: string,
    options?: { port?: number; isolation?: boolean },
  ): Promise<{ url: string; close: () => void }>;
}
