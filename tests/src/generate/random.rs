//! Chance that comes out the same every time, whatever the versions of libraries.

/// A sequence of numbers that its seed decides (SplitMix64).
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// The sequence of a part of the whole, such as a room: independent of when and where that part is made.
    pub(super) fn new(seed: u64, part: &str, number: usize) -> Self {
        let mut random = Self(seed);
        for byte in part.bytes().chain(number.to_be_bytes()) {
            random.0 = random.next() ^ u64::from(byte);
        }
        random
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to 1.
    pub(super) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// True in this share of cases.
    pub(super) fn chance(&mut self, share: f64) -> bool {
        self.share() < share
    }

    /// Less than `end`, which is not 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.share() * end as f64) as usize
    }

    /// Less than `end`, small numbers more often.
    pub(super) fn low(&mut self, end: usize) -> usize {
        (self.share().powi(2) * end as f64) as usize
    }

    pub(super) fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    /// [`Random::pick`] for texts.
    pub(super) fn word(&mut self, list: &[&'static str]) -> &'static str {
        list[self.below(list.len())]
    }

    pub(super) fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend(self.next().to_be_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    pub(super) fn letters(&mut self, length: usize) -> String {
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        (0..length).map(|_| char::from(*self.pick(letters))).collect()
    }
}

/// The distribution after Zipf: the n-th of a list has the weight 1/n.
#[derive(Clone, Debug)]
pub(super) struct Zipf(Vec<f64>);

impl Zipf {
    pub(super) fn new(length: usize) -> Self {
        let weights = (1..=length).scan(0.0, |sum, rank| {
            *sum += 1.0 / rank as f64;
            Some(*sum)
        });
        Self(weights.collect())
    }

    /// The share of a rank, which counts from 0.
    pub(super) fn share(&self, rank: usize) -> f64 {
        1.0 / (rank + 1) as f64 / self.0.last().copied().unwrap_or(1.0)
    }

    /// A rank among the first `end`.
    pub(super) fn draw(&self, random: &mut Random, end: usize) -> usize {
        let place = random.share() * self.0[end - 1];
        self.0.partition_point(|sum| *sum <= place).min(end - 1)
    }
}

/// Words of a language that nobody speaks, a few of them often.
#[derive(Clone, Debug)]
pub(super) struct Words {
    words: Vec<String>,
    zipf: Zipf,
}

impl Words {
    const NUMBER: usize = 3000;

    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed, "words", 0);
        let starts =
            ["b", "br", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "st", "t", "v", "w"];
        let vowels = ["a", "e", "i", "o", "u", "au", "ä", "ö", "é"];
        let words = (0..Self::NUMBER).map(|number| {
            let syllables = 1 + number.min(1500) / 500;
            let syllable =
                |random: &mut Random| random.word(&starts).to_owned() + random.word(&vowels);
            let mut word: String = (0..syllables).map(|_| syllable(&mut random)).collect();
            word.push_str(random.word(&["n", "r", "s", "t", "l"]));
            word
        });
        Self { words: words.collect(), zipf: Zipf::new(Self::NUMBER) }
    }

    pub(super) fn sentence(&self, random: &mut Random, length: usize) -> String {
        let mut words: Vec<&str> =
            (0..length).map(|_| &*self.words[self.zipf.draw(random, Self::NUMBER)]).collect();
        if random.chance(0.03) {
            words.push("👍🏽");
        }
        words.join(" ")
    }
}
