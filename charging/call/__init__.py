"""One charged call: events in, commands out. Pure: whatever talks is in `charging.engine`."""
