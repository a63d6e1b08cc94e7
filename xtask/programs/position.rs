//! The latitude in a sentence of a satellite receiver.
#![no_std]

use nimblenet_sdk::export;

export! {
    fn run(sentence: &str) -> f64 {
        let nmea::ParseResult::GGA(fix) = nmea::parse_str(sentence).unwrap() else {
            return f64::NAN;
        };
        fix.latitude.unwrap()
    }
}
