import type { KnipConfig } from "knip"

const config: KnipConfig = {
  entry: [
    "src/**/*.test.ts",
    "test/**/*.{test,test-d}.ts",
    "examples/*/server.ts",
    "examples/**/*.test.ts",
    "bench/*/index.ts",
    "scripts/*.mjs",
  ],
  project: [
    "src/**/*.ts",
    "test/**/*.ts",
    "examples/**/*.ts",
    "bench/**/*.ts",
    "scripts/**/*.mjs",
    "*.config.ts",
  ],
  ignoreExportsUsedInFile: true,
}

export default config
