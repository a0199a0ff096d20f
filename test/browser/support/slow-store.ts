import { registerHooks } from "node:module"

/** Preloaded after the sources of the library, it has a program get a store that is slow to save. */
registerHooks({
  resolve(specifier, context, next) {
    const isStore = specifier === "coatcheck/sqlite"
    return next(isStore ? new URL("slow-sqlite.ts", import.meta.url).href : specifier, context)
  },
})
