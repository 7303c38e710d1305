/** The types of the scripts of pkg-config that the tests use. */
declare module '*/pkg-config/webdriver.mjs' {
  export const chromiumArgs: string[];
  export const debianChromium: string;
}

declare module '*/pkg-config/serve.mjs' {
  export function serve(
    folder: string,
    options?: { port?: number; isolation?: boolean },
  ): Promise<{ url: string; close: () => void }>;
}

declare module '*/pkg-config/cli.mjs' {
  export function mobilesight(what: string, args: string[]): void;
  export function cargoExample(name: string, args: string[]): void;
  export function mobilesightJson(args: string[]): unknown;
}

declare module '*/pkg-config/weights.mjs' {
  export function makeWeights(options: {
    site: string;
    files: { arch: string; path: string; mb: number; resize?: number }[];
    kept: string;
    folder: string;
    pictures?: string;
  }): Promise<void>;
}
