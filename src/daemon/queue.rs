//! One running, one waiting: how the daemon bounds its own work.
//!
//! Work is asked for far more often than it can be done: each report of a thousand nodes wants a pass. What is
//! asked for while it runs is merged into a single next run, which sees everything that came before it started.
//! So nothing is lost, nothing piles up, and under load each run simply covers more.

/// A queue with one slot. `T` says what the run is for.
#[derive(Debug)]
pub struct OneSlot<T> {
    running: Option<T>,
    waiting: Option<T>,
}

impl<T> Default for OneSlot<T> {
    fn default() -> Self {
        Self { running: None, waiting: None }
    }
}

impl<T: Default> OneSlot<T> {
    /// Asks for a run, and gives what it will be for, to add to.
    pub fn ask(&mut self) -> &mut T {
        self.waiting.get_or_insert_default()
    }

    /// Starts what waits, unless something runs.
    pub fn start(&mut self) -> Option<&T> {
        if self.running.is_some() || self.waiting.is_none() {
            return None;
        }
        self.running = self.waiting.take();
        self.running.as_ref()
    }

    /// What runs.
    pub fn running(&self) -> Option<&T> {
        self.running.as_ref()
    }

    /// What runs, to be changed.
    pub fn running_mut(&mut self) -> Option<&mut T> {
        self.running.as_mut()
    }

    /// What waits.
    pub fn waiting(&self) -> Option<&T> {
        self.waiting.as_ref()
    }

    /// Ends the run, and gives back what it was for.
    pub fn finish(&mut self) -> Option<T> {
        self.running.take()
    }

    /// Takes back what waits.
    pub fn take_waiting(&mut self) -> Option<T> {
        self.waiting.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_during_a_run_is_merged_into_one_next_run() {
        let mut queue = OneSlot::<Vec<u32>>::default();
        assert_eq!(queue.start(), None, "nothing was asked");
        queue.ask().push(1);
        assert_eq!(queue.start(), Some(&vec![1]));
        queue.ask().push(2);
        queue.ask().push(3);
        assert_eq!(queue.start(), None, "one run at a time");
        assert_eq!(queue.finish(), Some(vec![1]));
        assert_eq!(queue.start(), Some(&vec![2, 3]));
        assert_eq!(queue.finish(), Some(vec![2, 3]));
        assert_eq!(queue.start(), None, "each request runs once");
    }
}
