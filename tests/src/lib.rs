//! The test bed: network namespaces with real programs in them.
