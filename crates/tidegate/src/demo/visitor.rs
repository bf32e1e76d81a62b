//! Who comes: a pure function of the seed and a number.

use contract::{Timestamp, id};

use super::catalogue::{DEVICES, Device, PLACES, Place, ROBOTS};
use super::random::Random;

const MINUTE: i64 = 60 * 1_000_000;
const HOUR: i64 = 60 * MINUTE;

/// One visitor in so many is a robot.
const ROBOT_EVERY: u64 = 33;
/// Of a million visitors, how many have a clock that is wrong.
const SKEWED_PER_MILLION: u64 = 30_000;
/// Of a million visitors, how many have an account.
const ACCOUNTS_PER_MILLION: u64 = 400_000;

/// By how many come how often: sessions in a thousand days.
const HABITS: [(u64, u64); 3] = [(30, 300), (50, 800), (20, 1_700)];

/// By how much clocks are wrong, from and to. All of it is more than the platform takes for the way through the network, so each is corrected.
const SKEWS: [(u64, (i64, i64)); 6] = [
    (3, (7 * MINUTE, 45 * MINUTE)),
    (3, (-45 * MINUTE, -7 * MINUTE)),
    (2, (HOUR, 13 * HOUR)),
    (2, (-13 * HOUR, -HOUR)),
    (1, (24 * HOUR, 4 * 24 * HOUR)),
    (1, (-4 * 24 * HOUR, -24 * HOUR)),
];

/// Someone or something that comes to the shop, on one device.
#[derive(Debug)]
pub(crate) struct Visitor {
    pub(crate) number: u64,
    pub(crate) anonymous_id: String,
    /// The account, where there is one.
    pub(crate) user_id: Option<String>,
    pub(crate) device: &'static Device,
    pub(crate) place: &'static Place,
    pub(crate) is_robot: bool,
    /// How far the device's clock is ahead, in microseconds.
    pub(crate) skew_micros: i64,
    pub(crate) sessions_per_1000_days: u64,
}

impl Visitor {
    /// The visitor of this number.
    pub(crate) fn of(seed: u64, number: u64) -> Self {
        let mut random = Random::stream(seed, &[0x0715, number]);
        let is_robot = number % ROBOT_EVERY == ROBOT_EVERY - 1;
        let device = if is_robot { random.weighted(&ROBOTS) } else { random.weighted(&DEVICES) };
        // A UUIDv7 of 1970 would show; one of late 2025 does as the time of a first visit.
        let first_visit = Timestamp(1_760_000_000_000_000 + random.between(0, 30 * 24 * HOUR));
        let skewed = random.chance(SKEWED_PER_MILLION);
        let (low, high) = *random.weighted(&SKEWS);
        let skew_micros = random.between(low, high);
        Self {
            number,
            anonymous_id: id::uuid_v7(first_visit, random.ten_bytes()).as_str().to_owned(),
            user_id: (random.chance(ACCOUNTS_PER_MILLION) && !is_robot).then(|| format!("customer-{:05}", number + 1)),
            device,
            place: random.weighted(&PLACES),
            is_robot,
            skew_micros: if skewed && !is_robot { skew_micros } else { 0 },
            sessions_per_1000_days: *random.weighted(&HABITS),
        }
    }

    /// Whether its clock is wrong.
    pub(crate) fn is_skewed(&self) -> bool {
        self.skew_micros != 0
    }
}
