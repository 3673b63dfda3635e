// What a browser has and Node lacks. The database lives as long as this process: a client that is started again in it finds
// what it had stored.

import "fake-indexeddb/auto";

for (const kind of ["debug", "info", "log", "trace", "warn"]) {
    console[kind] = console.error;
}

// Node 22 has it.
Promise.withResolvers ??= function withResolvers() {
    let resolve, reject;
    const promise = new Promise((...both) => ([resolve, reject] = both));
    return { promise, resolve, reject };
};

process.on("unhandledRejection", (error) => console.error("unhandled", error));
