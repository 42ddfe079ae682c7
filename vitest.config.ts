import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    isolate: false,
    include: ['test/**/*.test.ts'],
    // Suites on real engines take their time; unit tests never come near this (ms).
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
});
