// Waiting for what comes in its own time.

const ATTEMPTS = 400;
const PAUSE = 100;

export async function until(condition, what) {
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
        if (await condition()) {
            return;
        }
        await new Promise((resolve) => setTimeout(resolve, PAUSE));
    }
    throw new Error(`not so: ${typeof what === "function" ? what() : what}`);
}
