/** The files of a UI below `ui_content_path`, from the directory that `ui_dir` names (reference/http-api.md §1). */
import { readFile, realpath, stat } from 'node:fs/promises';
import { extname, join, sep } from 'node:path';
import { type ByteString, byteStringToUtf8 } from '../lib/index.ts';
import { type Answer, Body, text, textType } from './answer.ts';
import type { Api } from './api.ts';
import type { Endpoint } from './routes.ts';

export interface UiOptions {
  /** With slashes at both ends, as `/ui/`. */
  readonly contentPath: string;
  /** Directory of the files; "" = none. */
  readonly dir: string;
}

/** Largest file that is served (bytes). */
const fileBytesMax = 64 * 1024 * 1024;
const indexFile = 'index.html';
const types: Readonly<Record<string, string>> = {
  '.css': 'text/css; charset=utf-8',
  '.gif': 'image/gif',
  '.html': 'text/html; charset=utf-8',
  '.ico': 'image/x-icon',
  '.jpeg': 'image/jpeg',
  '.jpg': 'image/jpeg',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
  '.map': 'application/json',
  '.mjs': 'text/javascript; charset=utf-8',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
  '.txt': textType,
  '.wasm': 'application/wasm',
  '.woff': 'font/woff',
  '.woff2': 'font/woff2',
};

export function uiEndpoints(api: Api): readonly Endpoint[] {
  const { ui } = api.options();
  if (ui === null) return [];
  const { contentPath, dir } = ui;
  return [
    {
      pattern: contentPath,
      methods: {
        GET: async ({ suffix }) =>
          dir === ''
            ? text(404, 'This version has no UI of its own. Set ui_dir to the directory of one, or ui = false.')
            : await file(dir, suffix),
      },
      ignoresNamespace: true,
    },
  ];
}

/** Pages are routes inside the UI: what is no file is its start page. */
async function file(dir: string, suffix: ByteString): Promise<Answer> {
  const found = (await read(dir, byteStringToUtf8(suffix))) ?? (await read(dir, indexFile));
  return found ?? text(404, `404 page not found: ui_dir has no ${indexFile}`);
}

async function read(dir: string, name: string): Promise<Answer | null> {
  try {
    const root = await realpath(dir);
    const path = await realpath(join(root, name));
    // Neither a link nor an encoded path leads out.
    if (!path.startsWith(root + sep)) return null;
    const { size, isFile } = await stat(path).then((all) => ({ size: all.size, isFile: all.isFile() }));
    if (!isFile || size > fileBytesMax) return null;
    const type = types[extname(path).toLowerCase()] ?? 'application/octet-stream';
    return { status: 200, headers: [['Content-Type', type]], body: new Body(await readFile(path)) };
  } catch {
    return null;
  }
}
