//! Reading some rows of a segment from its agents: which shards to ask, in what order, and when
//! enough has come. A state machine without I/O.
//!
//! * At first only those data shards are asked that hold what is wanted: no decoding, no waste. If
//!   one of them is known not to answer, others are asked at once.
//! * When one fails, or is slow ([`Fetch::hedge`]), further shards are asked, best first, until k
//!   pieces are there or on their way. Whatever comes first counts; a slow piece still may.
//! * It is over when all wanted data pieces are there, or any k pieces ([`Status::Ready`]), or when
//!   neither can be any more ([`Status::Lost`]).

/// Where a piece stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    /// Not asked for.
    Idle,
    /// Asked for.
    Asked,
    /// Asked for, and no longer counted on.
    Slow,
    /// Here.
    Here,
    /// It will not come.
    Failed,
}

/// Where a fetch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// More has to come.
    Waiting,
    /// Enough is here.
    Ready,
    /// Too little will ever come.
    Lost,
}

/// The state of reading some rows.
#[derive(Clone, Debug)]
pub struct Fetch {
    k: usize,
    wanted: Vec<usize>,
    pieces: Vec<Piece>,
    /// Shards from the most to the least promising.
    order: Vec<usize>,
    hedged: bool,
}

impl Fetch {
    /// Reads `wanted` data shards of k. `order` names the shards that can be asked, the most
    /// promising first, out of `total`; `doubtful` are those that are not expected to answer.
    pub fn new(
        k: usize,
        total: usize,
        wanted: Vec<usize>,
        order: Vec<usize>,
        doubtful: &[usize],
    ) -> Self {
        let mut pieces = vec![Piece::Failed; total];
        for shard in &order {
            pieces[*shard] = Piece::Idle;
        }
        let hedged = wanted.iter().any(|shard| doubtful.contains(shard));
        Self { k, wanted, pieces, order, hedged }
    }

    fn count(&self, is: impl Fn(Piece) -> bool) -> usize {
        self.pieces.iter().filter(|piece| is(**piece)).count()
    }

    /// Where it stands.
    pub fn status(&self) -> Status {
        let direct = |is: fn(Piece) -> bool| self.wanted.iter().all(|at| is(self.pieces[*at]));
        if direct(|piece| piece == Piece::Here)
            || self.count(|piece| piece == Piece::Here) >= self.k
        {
            Status::Ready
        } else if direct(|piece| piece != Piece::Failed)
            || self.count(|piece| piece != Piece::Failed) >= self.k
        {
            Status::Waiting
        } else {
            Status::Lost
        }
    }

    /// Whether the wanted pieces are all here, so that nothing has to be decoded.
    pub fn is_direct(&self) -> bool {
        self.wanted.iter().all(|at| self.pieces[*at] == Piece::Here)
    }

    /// The shards to ask now. Each is named once.
    pub fn ask(&mut self) -> Vec<usize> {
        if self.status() != Status::Waiting {
            return Vec::new();
        }
        let broken = self.wanted.iter().any(|at| self.pieces[*at] == Piece::Failed);
        let mut asks = Vec::new();
        if self.hedged || broken {
            let mut coming = self.count(|piece| matches!(piece, Piece::Here | Piece::Asked));
            for shard in self.order.clone() {
                if coming >= self.k {
                    break;
                }
                if self.pieces[shard] == Piece::Idle {
                    asks.push(shard);
                    coming += 1;
                }
            }
        } else {
            let idle = |at: &usize| self.pieces[*at] == Piece::Idle;
            asks.extend(self.wanted.iter().copied().filter(idle));
        }
        for shard in &asks {
            self.pieces[*shard] = Piece::Asked;
        }
        asks
    }

    /// A piece came.
    pub fn arrived(&mut self, shard: usize) {
        self.pieces[shard] = Piece::Here;
    }

    /// A piece will not come, or was worthless.
    pub fn failed(&mut self, shard: usize) {
        self.pieces[shard] = Piece::Failed;
    }

    /// What was asked takes too long: it is no longer counted on. The shards that were slow.
    pub fn hedge(&mut self) -> Vec<usize> {
        self.hedged = true;
        let mut slow = Vec::new();
        for (shard, piece) in self.pieces.iter_mut().enumerate() {
            if *piece == Piece::Asked {
                *piece = Piece::Slow;
                slow.push(shard);
            }
        }
        slow
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fetch(wanted: &[usize], doubtful: &[usize]) -> Fetch {
        Fetch::new(4, 6, wanted.to_vec(), (0..6).collect(), doubtful)
    }

    #[test]
    fn asks_only_what_is_wanted() {
        let mut one = fetch(&[2], &[]);
        assert_eq!(one.ask(), [2]);
        assert!(one.ask().is_empty());
        one.arrived(2);
        assert_eq!(one.status(), Status::Ready);
        assert!(one.is_direct());
    }

    #[test]
    fn a_failure_brings_in_parity() {
        let mut all = fetch(&[0, 1, 2, 3], &[]);
        assert_eq!(all.ask(), [0, 1, 2, 3]);
        all.failed(1);
        assert_eq!(all.ask(), [4]);
        for shard in [0, 2, 3, 4] {
            all.arrived(shard);
        }
        assert_eq!(all.status(), Status::Ready);
        assert!(!all.is_direct());
    }

    #[test]
    fn two_of_six_may_be_down_and_not_three() {
        let mut one = fetch(&[0], &[]);
        assert_eq!(one.ask(), [0]);
        one.failed(0);
        assert_eq!(one.ask(), [1, 2, 3, 4]);
        one.failed(1);
        assert_eq!(one.ask(), [5]);
        one.failed(5);
        assert_eq!(one.status(), Status::Lost);
        assert!(one.ask().is_empty());
    }

    #[test]
    fn a_slow_piece_may_still_win() {
        let mut one = fetch(&[0], &[]);
        assert_eq!(one.ask(), [0]);
        assert_eq!(one.hedge(), [0]);
        assert_eq!(one.ask(), [1, 2, 3, 4]);
        one.arrived(1);
        assert_eq!(one.status(), Status::Waiting);
        one.arrived(0);
        assert_eq!(one.status(), Status::Ready);
        assert!(one.is_direct());
    }

    #[test]
    fn a_doubtful_one_is_not_waited_for() {
        let mut one = Fetch::new(4, 6, vec![0], vec![1, 2, 3, 4, 5, 0], &[0]);
        assert_eq!(one.ask(), [1, 2, 3, 4]);
    }

    proptest! {
        /// Whatever happens in whatever order, it ends: ready if and only if enough came, and no
        /// shard is asked twice.
        #[test]
        fn it_always_ends(
            wanted in prop::collection::btree_set(0usize..4, 1..4),
            doubtful in prop::collection::vec(0usize..6, 0..3),
            missing in prop::collection::btree_set(0usize..6, 0..4),
            events in prop::collection::vec(any::<(bool, bool)>(), 64),
        ) {
            let order: Vec<_> = (0..6).filter(|at| !missing.contains(at)).collect();
            let wanted: Vec<_> = wanted.into_iter().collect();
            let mut fetch = Fetch::new(4, 6, wanted.clone(), order, &doubtful);
            let (mut asked, mut open) = (Vec::new(), Vec::new());
            let mut here = Vec::new();
            for (good, hedge) in events {
                for shard in fetch.ask() {
                    prop_assert!(!asked.contains(&shard) && !missing.contains(&shard));
                    asked.push(shard);
                    open.push(shard);
                }
                if fetch.status() != Status::Waiting {
                    break;
                }
                if hedge {
                    fetch.hedge();
                    continue;
                }
                prop_assert!(!open.is_empty(), "waits for nothing");
                let shard = open.remove(0);
                if good {
                    fetch.arrived(shard);
                    here.push(shard);
                } else {
                    fetch.failed(shard);
                }
            }
            let enough = here.len() >= 4 || wanted.iter().all(|shard| here.contains(shard));
            prop_assert_eq!(fetch.status() == Status::Ready, enough);
            prop_assert!(fetch.status() != Status::Waiting || open.len() + asked.len() > 0);
        }
    }
}
