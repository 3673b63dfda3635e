// matrix-js-sdk, driven by lines on standard input, each with an answer on standard output:
// {"do": "say", "device": "nora", ...} -> {"ok": ...} or {"error": "..."}. What the library says goes to standard error.

import readline from "node:readline";

import "./surroundings.mjs";

const { Device } = await import("./device.mjs");
const { verify } = await import("./secrets.mjs");

const baseUrl = process.argv[2];
const devices = new Map();
const PATIENCE = 120_000;

async function answer({ do: what, device: name, ...how }) {
    if (what === "login") {
        const device = new Device(baseUrl, name);
        devices.set(name, device);
        return device.login(how);
    }
    const device = devices.get(name);
    if (what === "verify") {
        return verify(device, devices.get(how.other), how.room);
    }
    return device[what](how);
}

function impatience() {
    return new Promise((_, reject) => setTimeout(() => reject(new Error("it takes too long")), PATIENCE).unref());
}

for await (const line of readline.createInterface({ input: process.stdin })) {
    let said;
    try {
        said = { ok: (await Promise.race([answer(JSON.parse(line)), impatience()])) ?? null };
    } catch (error) {
        console.error(error);
        said = { error: String(error?.stack ?? error) };
    }
    process.stdout.write(`${JSON.stringify(said)}\n`);
}
process.exit(0);
