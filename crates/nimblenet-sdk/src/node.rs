//! Functions of the node. If a tasklet uses one, the packer lists its capability in the package,
//! and a node that does not grant the capability refuses the tasklet.

crate::import! {
    "nimblenet:sensor" "read" fn import_sensor_read(channel: u32) -> f32;
    "nimblenet:actuator" "set" fn import_actuator_set(channel: u32, value: f32);
    "nimblenet:clock" "now-us" fn import_now_us() -> u64;
    "nimblenet:clock" "sleep-us" fn import_sleep_us(microseconds: u32);
    "nimblenet:log" "write" fn import_log(line: &str);
    "nimblenet:kv" "get" fn import_kv_get(key: u32) -> i64;
    "nimblenet:kv" "set" fn import_kv_set(key: u32, value: i64);
    "nimblenet:random" "u32" fn import_random_u32() -> u32;
}

/// The latest reading of a sensor channel (capability `sensor`).
#[inline(always)]
pub fn sensor_read(channel: u32) -> f32 {
    import_sensor_read(channel)
}

/// Drives an actuator channel (capability `actuator`).
#[inline(always)]
pub fn actuator_set(channel: u32, value: f32) {
    import_actuator_set(channel, value);
}

/// Microseconds since the node started (capability `clock`).
#[inline(always)]
pub fn now_us() -> u64 {
    import_now_us()
}

/// Waits for so many microseconds of the node's time, a minute at most; the tasklet's executor waits
/// with it (capability `clock`; not on boards).
#[inline(always)]
pub fn sleep_us(microseconds: u32) {
    import_sleep_us(microseconds);
}

/// Writes one line to the node's log (capability `log`).
#[inline(always)]
pub fn log(line: &str) {
    import_log(line);
}

/// A value kept on the node under `key`, 0 if there is none (capability `kv`).
#[inline(always)]
pub fn kv_get(key: u32) -> i64 {
    import_kv_get(key)
}

/// Keeps a value on the node under `key` (capability `kv`).
#[inline(always)]
pub fn kv_set(key: u32, value: i64) {
    import_kv_set(key, value);
}

/// 32 random bits (capability `random`).
#[inline(always)]
pub fn random_u32() -> u32 {
    import_random_u32()
}
