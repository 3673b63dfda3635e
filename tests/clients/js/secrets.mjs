// End-to-end encryption: who one is, whom one trusts, and where the keys are kept.

import { CryptoEvent, VerificationPhase } from "matrix-js-sdk/lib/crypto-api/index.js";

import { until } from "./waiting.mjs";

// A recovery key is what a person has written down.
export function callbacks(device) {
    return {
        getSecretStorageKey: async ({ keys }) => [Object.keys(keys)[0], device.recovery.privateKey],
        cacheSecretStorageKey: () => {},
    };
}

const written = new Map();

export const acts = {
    // New cross-signing keys, secret storage and a key backup.
    async begin(device) {
        const crypto = device.client.getCrypto();
        await crypto.bootstrapCrossSigning({
            authUploadDeviceSigningKeys: (request) => request({
                type: "m.login.password", password: device.password,
                identifier: { type: "m.id.user", user: device.session.user_id },
            }),
        });
        device.recovery = await crypto.createRecoveryKeyFromPassphrase();
        written.set(device.session.user_id, device.recovery);
        await crypto.bootstrapSecretStorage({
            createSecretStorageKey: async () => device.recovery, setupNewSecretStorage: true, setupNewKeyBackup: true,
        });
    },

    // Verifies this device with the recovery key, as another device of the same person.
    async recover(device) {
        const crypto = device.client.getCrypto();
        device.recovery = written.get(device.session.user_id);
        await crypto.userHasCrossSigningKeys(device.session.user_id, true);
        await crypto.bootstrapCrossSigning({});
        await crypto.loadSessionBackupPrivateKeyFromSecretStorage();
        await crypto.checkKeyBackupAndEnable();
        const { total, imported } = await crypto.restoreKeyBackup();
        return { total, imported };
    },

    // What this device believes of itself and others.
    async beliefs(device, { others }) {
        const crypto = device.client.getCrypto();
        const trusted = {};
        for (const [user, id] of others) {
            const [person, machine] = [await crypto.getUserVerificationStatus(user), await crypto.getDeviceVerificationStatus(user, id)];
            trusted[`${user} ${id}`] = {
                user: person.isCrossSigningVerified(), changed: person.needsUserApproval, device: machine?.crossSigningVerified ?? null,
            };
        }
        return {
            keys: await crypto.getOwnDeviceKeys(), crossSigning: await crypto.getCrossSigningStatus(),
            ready: await crypto.isCrossSigningReady(), storage: await crypto.isSecretStorageReady(),
            backup: await crypto.getActiveSessionBackupVersion(), trusted,
        };
    },

    // Until this client has heard of a device of somebody else, which gets keys from then on.
    async knows(device, { user, id }) {
        const look = async () => (await device.client.getCrypto().getUserDeviceInfo([user], true)).get(user)?.has(id);
        await until(look, `${user} has ${id}`);
    },

    async newKey(device, { room }) {
        await device.client.getCrypto().forceDiscardSession(room);
    },

    // How many keys are in the backup on the server.
    async backedUp(device) {
        return (await device.client.getCrypto().getKeyBackupInfo())?.count ?? null;
    },
};

// Two people compare emoji, in a room.
export async function verify(one, other, room) {
    const asked = new Promise((resolve) => other.client.once(CryptoEvent.VerificationRequestReceived, resolve));
    const request = await one.client.getCrypto().requestVerificationDM(other.session.user_id, room);
    const received = await asked;
    await received.accept();
    await phase(request, VerificationPhase.Ready);
    const mine = await request.startVerification("m.sas.v1");
    await phase(received, VerificationPhase.Started);
    const seen = [mine, received.verifier].map(async (verifier) => {
        const verified = verifier.verify();
        await until(() => verifier.getShowSasCallbacks(), "emoji are shown");
        const { sas, confirm } = verifier.getShowSasCallbacks();
        await confirm();
        await verified;
        return JSON.stringify(sas.emoji);
    });
    const [mineSeen, theirs] = await Promise.all(seen);
    // What a client says next stands above what it hears later, so both hear first that both are done.
    const done = ({ client }) => until(() => client.getRoom(room).getLiveTimeline().getEvents()
        .filter((event) => event.getType() === "m.key.verification.done").length === 2, "both are done");
    await Promise.all([done(one), done(other)]);
    return mineSeen === theirs;
}

function phase(request, wanted) {
    return until(() => request.phase === wanted, () => `the verification is in phase ${wanted}, but ${request.phase}`);
}
