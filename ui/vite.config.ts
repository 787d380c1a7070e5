import { readFileSync } from 'node:fs';
import { defineConfig, type Plugin } from 'vite';

/**
 * Emits src/app/boot.js as a hashed file and loads it as a blocking classic script in the head.
 *
 * It sets the theme before the first paint. A module script would run after it, and an inline script is
 * forbidden by the Content-Security-Policy.
 */
function bootScript(): Plugin {
  const file = new URL('./src/app/boot.js', import.meta.url);
  let reference = '';
  let emitted = '';
  return {
    name: 'cupola-boot-script',
    buildStart() {
      if (this.meta.watchMode) return;
      reference = this.emitFile({ type: 'asset', name: 'boot.js', source: readFileSync(file, 'utf8') });
    },
    generateBundle() {
      emitted = this.getFileName(reference);
    },
    transformIndexHtml: {
      order: 'post',
      handler: (_html, context) => [
        {
          tag: 'script',
          attrs: { src: context.server ? '/src/app/boot.js' : `./${emitted}` },
          injectTo: 'head',
        },
      ],
    },
  };
}

export default defineConfig({
  base: './',
  publicDir: false,
  plugins: [bootScript()],
  server: { proxy: { '/api': process.env.CUPOLA_URL ?? 'http://127.0.0.1:9090' } },
  build: {
    target: 'es2022',
    outDir: '../crates/web/dist',
    emptyOutDir: true,
    sourcemap: false,
    cssCodeSplit: true,
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
  },
});
