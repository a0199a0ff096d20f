#!/usr/bin/env node
import process from "node:process"
import { runCommand } from "./commands.ts"

process.exitCode = runCommand(process.argv.slice(2), process.stdout, process.stderr)
