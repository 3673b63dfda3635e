// Scrolling up to the beginning, as Element does: a window on the timeline that asks for more while there is more.

import { TimelineWindow } from "matrix-js-sdk";

const PAGE = 20;

async function whole(client, timelineSet) {
    const window = new TimelineWindow(client, timelineSet, { windowLimit: Number.MAX_SAFE_INTEGER });
    await window.load(undefined, PAGE);
    // It ends with `false` where there is no more, and when several requests have brought nothing new.
    while (await window.paginate("b", PAGE));
    return { events: window.getEvents(), more: window.canPaginate("b") };
}

// The lines of the main timeline, oldest first, and of each thread. Reactions and edits are no lines: they and redactions are
// applied to what they are about, and not all are in a timeline.
export async function everything(client, room) {
    const { events: main, more } = await whole(client, room.getUnfilteredTimelineSet());
    await room.createThreadsTimelineSets();
    await room.fetchRoomThreads();
    const threads = {};
    const endless = more ? [room.roomId] : [];
    let all = main;
    for (const thread of room.getThreads()) {
        const { events, more: isEndless } = await whole(client, thread.timelineSet);
        threads[thread.id] = ids(events.filter(isLine));
        all = all.concat(events);
        if (isEndless) {
            endless.push(thread.id);
        }
    }
    const aside = all.filter((event) => !isLine(event));
    return {
        main: ids(main.filter(isLine)), threads, endless,
        applied: [...new Set([...ids(aside), ...all.flatMap((event) => applied(room, event))])],
    };
}

function isLine(event) {
    return !event.isRelation("m.replace") && !event.isRelation("m.annotation");
}

function applied(room, event) {
    const related = ["m.annotation", "m.replace"].flatMap((relation) => {
        const kind = relation === "m.annotation" ? "m.reaction" : event.getType();
        return room.relations.getChildEventsForEvent(event.getId(), relation, kind)?.getRelations() ?? [];
    });
    const redaction = event.getUnsigned().redacted_because?.event_id;
    return [...ids(related), ...(redaction ? [redaction] : [])];
}

function ids(events) {
    return events.map((event) => event.getId());
}

// What encrypted messages of the main timeline say, or why they say nothing.
export async function read(client, room) {
    const texts = {};
    const { events } = await whole(client, room.getUnfilteredTimelineSet());
    for (const event of events) {
        if (event.isEncrypted()) {
            await client.decryptEventIfNeeded(event);
            const failed = event.isDecryptionFailure() && { failed: event.decryptionFailureReason };
            texts[event.getId()] = failed || event.getContent().body || event.getType();
        }
    }
    return texts;
}
