//! How many connections one address has, held to a bound.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The bits of an IPv6 address that tell one network from the others: whoever has one address has all of its network.
const NETWORK_BITS: u128 = !0 << 64;

/// Counts connections by address. Cheap to clone; all clones count together. It has no more entries than there are connections.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    /// 0 is no bound.
    max: usize,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Addresses {
    /// So many connections of one address at a time; 0 is no bound.
    pub(crate) fn within(max: usize) -> Self {
        Self { max, open: Arc::default() }
    }

    /// Counts a connection until what is returned is dropped; nothing where its address has as many as it may have.
    pub(crate) fn enter(&self, peer: SocketAddr) -> Option<Entered> {
        if self.max == 0 {
            return Some(Entered(None));
        }
        let address = counted_as(peer.ip());
        let mut open = self.open();
        let count = open.entry(address).or_default();
        if *count >= self.max {
            return None;
        }
        *count += 1;
        drop(open);
        Some(Entered(Some((self.clone(), address))))
    }

    fn leave(&self, address: IpAddr) {
        let mut open = self.open();
        if let Some(count) = open.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&address);
            }
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that is counted.
#[derive(Debug)]
pub(crate) struct Entered(Option<(Addresses, IpAddr)>);

impl Drop for Entered {
    fn drop(&mut self) {
        if let Some((addresses, address)) = &self.0 {
            addresses.leave(*address);
        }
    }
}

fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & NETWORK_BITS).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> SocketAddr {
        SocketAddr::new(address.parse().unwrap(), 7)
    }

    #[test]
    fn an_address_has_as_many_as_it_may_have() {
        let addresses = Addresses::within(2);
        let (first, second) = (addresses.enter(at("192.0.2.1")).unwrap(), addresses.enter(at("::ffff:192.0.2.1")).unwrap());
        assert!(addresses.enter(at("192.0.2.1")).is_none(), "written as IPv6 it is the same");
        let other = addresses.enter(at("192.0.2.2")).unwrap();
        drop(first);
        let third = addresses.enter(at("192.0.2.1")).unwrap();
        assert!(addresses.enter(at("192.0.2.1")).is_none());
        drop((second, third, other));
        assert!(addresses.open().is_empty(), "nothing is kept of those that left");
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let addresses = Addresses::within(1);
        let entered = addresses.enter(at("2001:db8::1")).unwrap();
        assert!(addresses.enter(at("2001:db8::2")).is_none());
        assert!(addresses.enter(at("2001:db8:0:1::1")).is_some());
        drop(entered);
    }

    #[test]
    fn without_a_bound_nothing_is_counted() {
        let addresses = Addresses::within(0);
        let all: Vec<_> = (0..1_000).map(|_| addresses.enter(at("192.0.2.1")).unwrap()).collect();
        assert!(addresses.open().is_empty());
        drop(all);
    }
}
