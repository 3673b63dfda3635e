// A client on a device, with its own store: what a person does with it, and what is to be seen then.

import { ClientEvent, createClient, IndexedDBStore, SyncState } from "matrix-js-sdk";

import { localStorage } from "./storage.mjs";
import { everything, read } from "./scrolling.mjs";
import * as secrets from "./secrets.mjs";
import { until } from "./waiting.mjs";

const LIMIT = 5;

export class Device {
    constructor(baseUrl, name) {
        Object.assign(this, { baseUrl, name, localStorage: localStorage(), recovery: {} });
    }

    async login({ user, password, crypto }) {
        const nobody = createClient({ baseUrl: this.baseUrl });
        const session = await nobody.loginRequest({
            type: "m.login.password", password, identifier: { type: "m.id.user", user },
            initial_device_display_name: `matrix-js-sdk ${this.name}`,
        });
        Object.assign(this, { session, password, crypto });
        return { device_id: session.device_id, access_token: session.access_token, user_id: session.user_id };
    }

    // From the store, if there is one.
    async start() {
        const store = new IndexedDBStore({ indexedDB, dbName: `store-${this.name}`, localStorage: this.localStorage });
        this.client = createClient({
            baseUrl: this.baseUrl, store, userId: this.session.user_id, deviceId: this.session.device_id,
            accessToken: this.session.access_token, cryptoCallbacks: secrets.callbacks(this), timelineSupport: true,
        });
        await store.startup();
        if (this.crypto) {
            await this.client.initRustCrypto({ cryptoDatabasePrefix: `crypto-${this.name}` });
        }
        const synced = this.synced();
        await this.client.startClient({ initialSyncLimit: LIMIT, threadSupport: true, lazyLoadMembers: true });
        await synced;
    }

    async stop() {
        await this.client.store.save(true);
        this.client.stopClient();
        this.client = undefined;
    }

    // Resolves with the next answer to a sync that comes from the server.
    synced() {
        return new Promise((resolve) => {
            const listen = (state, _before, data) => {
                if (state === SyncState.Syncing || (state === SyncState.Prepared && !data?.fromCache)) {
                    this.client.off(ClientEvent.Sync, listen);
                    resolve();
                }
            };
            this.client.on(ClientEvent.Sync, listen);
        });
    }

    async online() {
        const synced = this.synced();
        this.client.retryImmediately();
        await synced;
    }

    rooms() {
        return Object.fromEntries(this.client.getRooms().map((room) => [room.roomId, {
            membership: room.getMyMembership(),
            name: room.name,
            // In an encrypted room, what is unread is counted by the client itself while it runs.
            unread: room.hasEncryptionStateEvent() ? null : ["total", "highlight"].map((kind) => room.getUnreadNotificationCount(kind)),
            token: room.getLiveTimeline().getPaginationToken("b"),
            shown: room.getLiveTimeline().getEvents().map((event) => event.getId()),
        }]));
    }

    async page({ room }) {
        const timeline = this.client.getRoom(room).getLiveTimeline();
        await this.client.paginateEventTimeline(timeline, { backwards: true, limit: LIMIT });
        return timeline.getPaginationToken("b");
    }

    async scroll({ room }) {
        return everything(this.client, this.client.getRoom(room));
    }

    async texts({ room }) {
        return read(this.client, this.client.getRoom(room));
    }

    async say({ room, text }) {
        const { event_id: id } = await this.client.sendTextMessage(room, text);
        await until(() => this.client.getRoom(room).findEventById(id)?.status === null, `${id} comes back`);
        return id;
    }

    // Until a message of somebody else can be read.
    async hears({ room, event }) {
        let found;
        await until(() => (found = this.client.getRoom(room)?.findEventById(event)), `${event} arrives`);
        if (found.isEncrypted()) {
            const isRead = () => found.getClearContent() && !found.isDecryptionFailure();
            await until(isRead, () => `${event} is decrypted: ${found.decryptionFailureReason}`);
        }
        return found.getContent().body;
    }

    async readAll({ room }) {
        const found = this.client.getRoom(room);
        await this.client.sendReadReceipt(found.getLiveTimeline().getEvents().at(-1));
        await until(() => found.getUnreadNotificationCount("total") === 0, "nothing is unread");
    }

    async join({ room }) {
        await this.client.joinRoom(room);
    }

    // Until the client has heard that it is in a room.
    async isIn({ room }) {
        await until(() => this.client.getRoom(room)?.getMyMembership() === "join", `${room} is joined`);
    }
}

for (const [name, act] of Object.entries(secrets.acts)) {
    Device.prototype[name] = function (how) {
        return act(this, how);
    };
}
