// `localStorage` of a browser, one for each device.

export function localStorage() {
    const items = new Map();
    return {
        getItem: (name) => items.get(name) ?? null,
        setItem: (name, value) => void items.set(name, String(value)),
        removeItem: (name) => void items.delete(name),
        key: (index) => [...items.keys()][index] ?? null,
        clear: () => items.clear(),
        get length() {
            return items.size;
        },
    };
}
