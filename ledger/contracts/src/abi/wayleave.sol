// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// What an account gained and owes in one network since the beginning (design 8). All amounts are
/// cumulative. Its hash in the tree is keccak256(keccak256(abi.encode(fields))), as OpenZeppelin's
/// StandardMerkleTree makes it.
struct Leaf {
    /// The account.
    address account;
    /// The network.
    uint64 network;
    /// Tokens that vested, in units of 1e-18.
    uint256 vested;
    /// Dollars earned in cash, in millionths.
    uint256 cash;
    /// Dollars earned in card credits, in millionths.
    uint256 card;
    /// Dollars earned in token credits, in millionths.
    uint256 credit;
    /// Dollars spent on rails, in millionths.
    uint256 spent;
    /// Stake lost, in units of 1e-18 tokens.
    uint256 slashed;
}

/// The sums over all leaves of a network, and what its payments burned. All cumulative.
struct Totals {
    /// Tokens that vested.
    uint256 vested;
    /// Dollars earned in cash, in millionths.
    uint256 cash;
    /// Dollars earned in card credits, in millionths.
    uint256 card;
    /// Dollars earned in token credits, in millionths.
    uint256 credit;
    /// Dollars spent on rails, in millionths: earned plus burned.
    uint256 spent;
    /// Dollars set aside to buy the token and burn it, in millionths.
    uint256 burned;
    /// Stake lost, in units of 1e-18 tokens.
    uint256 slashed;
    /// Top-ups granted, vested or not, in units of 1e-18 tokens.
    uint256 toppedUp;
    /// Pay for presence granted, vested or not, in units of 1e-18 tokens.
    uint256 bootstrapped;
}

/// What the author of evidence batches answers for in one epoch of one network. Its hash in the tree is
/// keccak256(keccak256(abi.encode(bytes32("wayleave/author/1"), fields))): a word more than the fields, and
/// three less than an account's leaf, so that neither passes for the other.
struct AuthorLeaf {
    /// The network.
    uint64 network;
    /// The epoch.
    uint64 epoch;
    /// The Ed25519 key that signed the batches.
    bytes32 author;
    /// Bytes of envelopes that an honest author never carries.
    uint64 size;
}

/// What validators vote on: the result of one epoch of one network.
struct Outcome {
    /// BLAKE3 of the epoch's inputs file, as announced.
    bytes32 inputs;
    /// BLAKE3 of the statement.
    bytes32 statement;
    /// The Merkle root of the leaves of accounts and of authors at fault.
    bytes32 root;
    /// The sums over the leaves.
    Totals totals;
}

/// Answers of every system contract.
interface ISystem {
    /// The input's selector belongs to no function of this contract.
    error UnknownSelector(bytes4 selector);
    /// The arguments are not the ABI encoding of the function's parameters.
    error MalformedArguments(bytes4 selector);
    /// The function takes no coin.
    error NotPayable(uint256 value);
    /// System contracts are called directly, never by DELEGATECALL or CALLCODE.
    error NotDirect();
    /// The function is paused until this height.
    error Paused(bytes4 selector, uint64 until);
    /// A sum or difference left its range.
    error Overflow();
    /// An argument that must not be zero or empty.
    error Empty();
    /// More than the limit of bytes or items in one call.
    error TooMany(uint256 count, uint256 limit);
}

/// ERC-20 with permit (ERC-2612), its domain (ERC-5267) and the errors of ERC-6093. Answers at every
/// token's address, at the test stablecoin's and at the dollars'.
interface IToken {
    event Transfer(address indexed from, address indexed to, uint256 value);
    event Approval(address indexed owner, address indexed spender, uint256 value);

    error ERC20InsufficientBalance(address sender, uint256 balance, uint256 needed);
    error ERC20InvalidReceiver(address receiver);
    error ERC20InsufficientAllowance(address spender, uint256 allowance, uint256 needed);
    error ERC20InvalidSpender(address spender);
    error ERC2612ExpiredSignature(uint256 deadline);
    error ERC2612InvalidSigner(address signer, address owner);
    /// The supply would exceed what fits 128 bits.
    error SupplyExceeded(uint256 supply, uint256 limit);
    /// No token was created at this address.
    error NoSuchToken(address token);

    function name() external view returns (string memory);
    function symbol() external view returns (string memory);
    function decimals() external view returns (uint8);
    function totalSupply() external view returns (uint256);
    function balanceOf(address account) external view returns (uint256);
    function allowance(address owner, address spender) external view returns (uint256);
    function transfer(address to, uint256 value) external returns (bool);
    function approve(address spender, uint256 value) external returns (bool);
    function transferFrom(address from, address to, uint256 value) external returns (bool);
    function permit(address owner, address spender, uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external;
    function nonces(address owner) external view returns (uint256);
    function DOMAIN_SEPARATOR() external view returns (bytes32);
    function eip712Domain() external view returns (bytes1 fields, string memory name, string memory version, uint256 chainId, address verifyingContract, bytes32 salt, uint256[] memory extensions);
}

/// Votes by checkpoint (ERC-5805, clock of ERC-6372 in heights). Answers at every network token's
/// address, beside IToken.
interface IVotes {
    event DelegateChanged(address indexed delegator, address indexed fromDelegate, address indexed toDelegate);
    event DelegateVotesChanged(address indexed delegate, uint256 previousVotes, uint256 newVotes);

    error ERC5805FutureLookup(uint256 timepoint, uint48 clock);
    error VotesExpiredSignature(uint256 expiry);
    error InvalidAccountNonce(address account, uint256 currentNonce);
    error InvalidSignature();

    function delegate(address delegatee) external;
    function delegateBySig(address delegatee, uint256 nonce, uint256 expiry, uint8 v, bytes32 r, bytes32 s) external;
    function delegates(address account) external view returns (address);
    function getVotes(address account) external view returns (uint256);
    function getPastVotes(address account, uint256 timepoint) external view returns (uint256);
    function getPastTotalSupply(uint256 timepoint) external view returns (uint256);
    function clock() external view returns (uint48);
    function CLOCK_MODE() external view returns (string memory);
}

/// Dollars of the cash class, beside IToken at the same address: made from the stablecoin one to one
/// and redeemed to it. 6 decimals.
interface IDollars {
    event Deposited(address indexed account, uint256 amount);
    event Redeemed(address indexed account, uint256 amount);

    /// No such class, or none of it can exist yet: 0 is cash.
    error NoSuchClass(uint8 class);

    /// Takes `stable` of the stablecoin (allowance to this contract needed) and makes as many dollars.
    function deposit(uint256 stable) external;
    /// Destroys `amount` dollars and pays as much stablecoin.
    function redeem(uint256 amount) external;
    function balanceOfClass(address account, uint8 class) external view returns (uint256);
    function stablecoin() external view returns (address);
}

/// Networks: founder, treasury, token and the versions of the manifest.
interface INetworks {
    struct NetworkInfo {
        address founder;
        address treasury;
        address token;
        /// The epoch in which it was created.
        uint64 created;
        /// The first epoch of its first manifest.
        uint64 start;
        /// How many versions of the manifest there are.
        uint64 versions;
        string name;
        string symbol;
    }

    struct Version {
        /// The first epoch in which the version holds.
        uint64 activation;
        /// BLAKE3 of the manifest's bytes.
        bytes32 digest;
    }

    event Created(uint64 indexed network, address indexed founder, address token, bytes32 digest);
    event Amended(uint64 indexed network, uint64 indexed version, uint64 activation, bytes32 digest);
    event FounderChanged(uint64 indexed network, address indexed from, address indexed to);
    event TreasuryChanged(uint64 indexed network, address indexed from, address indexed to);

    error NoSuchNetwork(uint64 network);
    error NotFounder(uint64 network, address caller);
    /// The manifest does not decode or breaks a rule; the reason says which.
    error InvalidManifest(string reason);
    /// Unbonding would not outlast the dispute window, in epochs.
    error UnbondingTooShort(uint64 unbonding, uint64 dispute);
    /// An activation must be at least two epochs ahead and after that of the last version.
    error ActivationTooEarly(uint64 activation, uint64 earliest);
    /// The network had no manifest in this epoch.
    error NoManifest(uint64 network, uint64 epoch);

    /// Creates a network and its token, with `supply` tokens for the caller. The manifest holds from
    /// two epochs after this one.
    function create(bytes calldata manifest, string calldata name, string calldata symbol, uint256 supply) external returns (uint64 network);
    /// Adds a version of the manifest that holds from two epochs after this one. Only the founder.
    function amend(uint64 network, bytes calldata manifest) external returns (uint64 version);
    /// As `amend`, with a later activation.
    function amendAt(uint64 network, uint64 activation, bytes calldata manifest) external returns (uint64 version);
    function setFounder(uint64 network, address founder) external;
    function setTreasury(uint64 network, address treasury) external;
    function count() external view returns (uint64);
    /// The canonical bytes of the manifest that holds in `epoch`.
    function manifest(uint64 network, uint64 epoch) external view returns (bytes memory);
    function version(uint64 network, uint64 index) external view returns (Version memory);
    function founder(uint64 network) external view returns (address);
    function treasury(uint64 network) external view returns (address);
    function token(uint64 network) external view returns (address);
    function networkInfo(uint64 network) external view returns (NetworkInfo memory);
}

/// Devices: compact records with an ERC-721 view, in which a token's id is the device's id.
interface IDevices {
    struct Record {
        uint64 network;
        uint16 kind;
        /// The COSE algorithm of the key: -8 for Ed25519, -7 for ES256.
        int8 alg;
        /// How well the key is known (design 6).
        uint8 tier;
        address owner;
        address maker;
        /// The key: its x coordinate, or all of an Ed25519 key.
        bytes32 x;
        /// The y coordinate; zero for Ed25519.
        bytes32 y;
        /// Units offered, in the kind's unit.
        uint64 capacity;
        /// The H3 cell; zero for none.
        uint64 cell;
        /// BLAKE3 of the offer.
        bytes32 offer;
        /// The epoch of registration; it counts from the next.
        uint64 registered;
        /// The epoch in which it was retired; the largest number while it is not.
        uint64 retired;
    }

    event Registered(bytes32 indexed device, uint64 indexed network, address indexed owner, uint16 kind, uint64 capacity, uint64 cell);
    event Retired(bytes32 indexed device, uint64 indexed network);
    event EndpointChanged(bytes32 indexed device, string endpoint);
    event Transfer(address indexed from, address indexed to, uint256 indexed tokenId);
    event Approval(address indexed owner, address indexed approved, uint256 indexed tokenId);
    event ApprovalForAll(address indexed owner, address indexed operator, bool approved);

    error NoSuchDevice(bytes32 device);
    error AlreadyRegistered(bytes32 device);
    error AlreadyRetired(bytes32 device);
    error NotOwner(bytes32 device, address caller);
    /// The key is of no known algorithm, or no point of its curve.
    error InvalidKey(int8 alg);
    /// The device key did not sign the registration message of this chain, network and owner.
    error InvalidProof(bytes32 device);
    /// The network's manifest has no terms for this kind.
    error UnknownKind(uint64 network, uint16 kind);
    /// A device with stake cannot change hands: the stake answers for its owner.
    error Staked(bytes32 device, uint256 stake);
    error NoSuchIndex(uint64 index, uint64 count);
    error ERC721NonexistentToken(uint256 tokenId);
    error ERC721IncorrectOwner(address sender, uint256 tokenId, address owner);
    error ERC721InvalidReceiver(address receiver);
    error ERC721InsufficientApproval(address operator, uint256 tokenId);
    error ERC721InvalidApprover(address approver);
    error ERC721InvalidOperator(address operator);
    error ERC721InvalidOwner(address owner);

    /// Registers a device for the caller. `proof` is the device's signature (64 bytes) over the
    /// registration message.
    function register(uint64 network, uint16 kind, int8 alg, bytes32 x, bytes32 y, uint64 capacity, uint64 cell, bytes calldata offer, bytes calldata proof) external returns (bytes32 device);
    /// Takes a device out of service for good. Its record stays, its stake can be asked back.
    function retire(bytes32 device) external;
    /// Announces where the device's agent is dialled, as host:port; empty withdraws it.
    function setEndpoint(bytes32 device, string calldata endpoint) external;
    function device(bytes32 device) external view returns (Record memory);
    function offer(bytes32 device) external view returns (bytes memory);
    function endpoint(bytes32 device) external view returns (string memory);
    /// The devices in service of a network, in no order that lasts.
    function deviceAt(uint64 network, uint64 index) external view returns (bytes32);
    function deviceCount(uint64 network) external view returns (uint64);
    /// All devices ever registered in a network.
    function registeredCount(uint64 network) external view returns (uint64);

    function name() external view returns (string memory);
    function symbol() external view returns (string memory);
    function tokenURI(uint256 tokenId) external view returns (string memory);
    function supportsInterface(bytes4 interfaceId) external view returns (bool);
    function balanceOf(address owner) external view returns (uint256);
    function ownerOf(uint256 tokenId) external view returns (address);
    function getApproved(uint256 tokenId) external view returns (address);
    function isApprovedForAll(address owner, address operator) external view returns (bool);
    function approve(address to, uint256 tokenId) external;
    function setApprovalForAll(address operator, bool approved) external;
    function transferFrom(address from, address to, uint256 tokenId) external;
    /// The receiver must not be a contract: system contracts make no calls into code.
    function safeTransferFrom(address from, address to, uint256 tokenId) external;
    function safeTransferFrom(address from, address to, uint256 tokenId, bytes calldata data) external;
}

/// Stakes: tokens of a network that answer for a device's faults.
interface IStakes {
    event Stake(bytes32 indexed device, address indexed owner, uint256 amount, uint256 total);
    event Unbonding(bytes32 indexed device, address indexed owner, uint256 amount, uint64 epoch);
    event Withdrawn(bytes32 indexed device, address indexed owner, uint256 paid, uint256 slashed);

    error NotOwner(bytes32 device, address caller);
    error DeviceRetired(bytes32 device);
    error InsufficientStake(bytes32 device, uint256 stake, uint256 needed);
    error NothingUnbonding(bytes32 device);
    /// The stake is bound until this epoch.
    error StillBound(bytes32 device, uint64 until);
    /// The leaf must be of the device's owner, its network, and an epoch not before the request; or of the
    /// newest final epoch, once that of the request is void.
    error WrongLeaf(bytes32 device);

    /// Binds `amount` tokens of the device's network (allowance to this contract needed). Only its owner.
    function stake(bytes32 device, uint256 amount) external;
    /// Asks `amount` back. A further request joins the first and its epoch starts anew. Stake of a device
    /// that no inputs name yet is paid at once.
    function unbond(bytes32 device, uint256 amount) external;
    /// Pays what was asked back, less what the owner's leaf says was slashed and is not yet netted.
    function withdraw(bytes32 device, uint64 epoch, Leaf calldata leaf, bytes32[] calldata proof) external returns (uint256 paid);
    /// The stake that is bound, without what is asked back.
    function stakeOf(bytes32 device) external view returns (uint256);
    /// What is asked back, and in which epoch it was asked.
    function unbonding(bytes32 device) external view returns (uint256 amount, uint64 epoch);
    /// What an owner lost to slashes in a network so far, as withdrawals took it.
    function slashed(uint64 network, address owner) external view returns (uint256);
    /// All stake of a network, bound and asked back.
    function total(uint64 network) external view returns (uint256);
}

/// Validators: the ledger's coin bonded for seats, keys, elected committees, and double votes.
interface IValidators {
    /// A seat of a committee: the keys of a validator, and who gets its tips and votes in Settlements.
    struct Seat {
        /// Ed25519 public key (RFC 8032): votes and names the peer.
        bytes32 key;
        /// BLS12-381 public key in the second group, 96 compressed bytes: reveals the seed.
        bytes seedKey;
        /// Proof that the seed key's secret is held, 48 compressed bytes.
        bytes possession;
        address account;
    }

    event Bonded(address indexed owner, uint256 amount, uint256 total);
    event Unbonding(address indexed owner, uint256 amount, uint64 until);
    event Withdrawn(address indexed owner, uint256 paid);
    event Registered(bytes32 indexed key, address indexed owner, address account, string endpoint);
    event Retired(bytes32 indexed key, address indexed owner);
    event EndpointSet(bytes32 indexed key, string endpoint);
    event Convicted(bytes32 indexed key, address indexed owner, address indexed reporter, uint64 term, uint64 view, uint256 locked, uint256 reward);
    event Released(bytes32 indexed key, address indexed owner, uint256 taken, uint256 paid);
    event Charged(bytes32 indexed key, address indexed owner, address indexed presenter, uint64 network, uint64 epoch, uint256 taken, uint256 reward);

    /// The key is or was registered, by whomever: every key is used once.
    error KeyInUse(bytes32 key);
    /// The key is no point, or the proof is not its signature for this ledger, owner and account.
    error InvalidKey(bytes32 key);
    /// The seed key is no point of its group, or its possession is not proven.
    error InvalidSeedKey(bytes32 key);
    /// Nobody could use what this account gets: it is zero or a system contract.
    error InvalidAccount(address account);
    error NotOwner(bytes32 key, address caller);
    error KeyRetired(bytes32 key);
    error TooManyKeys(address owner, uint64 limit);
    /// Every place is taken, and the cheapest is backed by this much: bond more than that for each key.
    error Full(uint64 limit, uint256 cheapest);
    /// The bond must stay at least the least bond for each registered key.
    error InsufficientBond(address owner, uint256 bond, uint256 needed);
    error NothingUnbonding(address owner);
    /// The coin is bound until this term begins.
    error StillBound(address owner, uint64 until);
    /// The bytes are no vote of simplex.
    error MalformedVote();
    /// The two votes are not of one seat and view, or may both be cast.
    error NoConflict();
    /// Double votes of a term are heard until the end of term `until`.
    error TooLate(uint64 term, uint64 until);
    /// No committee is known for the term, or it has no such seat.
    error NoSuchSeat(uint64 term, uint64 signer);
    /// One of the votes was not signed with this key for this ledger.
    error InvalidVote(bytes32 key);
    error AlreadyConvicted(bytes32 key);
    /// Nothing of this key's bond is held.
    error NothingLocked(bytes32 key);
    /// No validator ever registered the key: nobody answers for what it signed.
    error NoSuchKey(bytes32 key);
    /// The root of the leaf's network and epoch does not hold it.
    error InvalidLeaf(bytes32 key);
    /// All that the leaf costs is paid, or it costs less than the coin's smallest unit.
    error NothingDue(bytes32 key);
    /// The owner has no coin here that is not held for a conviction.
    error NothingBonded(address owner);

    /// Bonds the coin that comes with the call for the caller. Counts from the next election.
    function bond() external payable;
    /// Asks coin of the bond back. A further request joins the first and its time starts anew.
    function unbond(uint256 amount) external;
    /// Pays what was asked back, once no double vote that it answers for can be reported any more.
    function withdraw() external returns (uint256 paid);
    /// Registers a key of the caller. `proof` is the key's signature, `endpoint` its p2p address as
    /// `ip:port`, or empty. When all places are taken, the cheapest key yields to a dearer one.
    function register(bytes32 key, bytes calldata seedKey, bytes calldata possession, bytes calldata proof, address account, string calldata endpoint) external;
    /// Puts a new key in the place of one of the caller's, which is retired.
    function replace(bytes32 old, bytes32 key, bytes calldata seedKey, bytes calldata possession, bytes calldata proof, address account, string calldata endpoint) external;
    /// Ends the use of a key with the committees it is in already. It cannot be registered again.
    function retire(bytes32 key) external;
    function setEndpoint(bytes32 key, string calldata endpoint) external;
    /// Reports a double vote: two encoded votes of simplex (a tag, the vote) by one seat in one view, of
    /// which an honest validator signs one. Pays the caller a hundredth of what is held.
    function accuse(bytes calldata first, bytes calldata second) external;
    /// Ends what is held for a convicted key: part is destroyed, the rest is the owner's. Anyone may send it.
    function release(bytes32 key) external;
    /// Makes the owner of a key pay for what the key's batches of evidence carried in an epoch that is
    /// claimable. A tenth is the caller's, the rest is destroyed. What the owner lacks stays due.
    function charge(AuthorLeaf calldata leaf, bytes32[] calldata proof) external returns (uint256 taken);

    /// The seats of a term's committee by ascending key; none if it is not elected yet or forgotten.
    function committee(uint64 term) external view returns (Seat[] memory);
    /// What the leaders of a term's committee are ordered by: the seed mix of the block that elected it, which
    /// nobody knew when the last of its keys was registered. Zero for the first two terms.
    function order(uint64 term) external view returns (bytes32);
    /// The running term and the rules: blocks a term, most seats, terms in which double votes are heard,
    /// and the least bond of a key.
    function terms() external view returns (uint64 current, uint64 length, uint64 seatsMax, uint64 unbondingTerms, uint256 bondMin);
    function seatsOf(uint64 term, address account) external view returns (uint64);
    function allSeats(uint64 term) external view returns (uint64);
    /// The keys in use, in no order that lasts.
    function keyCount() external view returns (uint64);
    function keyAt(uint64 index) external view returns (bytes32);
    function keyInfo(bytes32 key) external view returns (address owner, address account, bytes memory seedKey, bytes memory possession, string memory endpoint, bool retired, bool convicted);
    /// What an owner has bonded, without what is asked back, and for how many keys.
    function bondOf(address owner) external view returns (uint256 amount, uint64 keys);
    /// What is asked back, and the term from which it is paid.
    function unbonding(address owner) external view returns (uint256 amount, uint64 until);
    /// What is held for a convicted key, and the term from which it is released.
    function lockOf(bytes32 key) external view returns (uint256 amount, uint64 until);
    /// What a leaf still costs, were it proven; zero if nobody answers for its key.
    function dueOf(AuthorLeaf calldata leaf) external view returns (uint256);
    /// The hash of the genesis block, which votes are bound to; zero before the first block.
    function genesisHash() external view returns (bytes32);
}

/// Rails: deposits, and money reserved from one payer towards one payee.
interface IRails {
    struct OpenRail {
        uint64 network;
        /// Who is paid: the device's owner, if a device is named.
        address payee;
        /// Whose key signs vouchers and freezes datasets.
        address signer;
        /// The device that serves; zero for a rail of fees.
        bytes32 device;
        /// The most that the rail can ever pay, in millionths of a dollar.
        uint64 limit;
        /// Millionths of a dollar a proven epoch, or 0.
        uint64 rate;
        /// The last epoch that counts.
        uint64 expiry;
    }

    struct RailInfo {
        uint64 network;
        address payer;
        address payee;
        address signer;
        bytes32 device;
        uint64 limit;
        uint64 rate;
        /// Vouchers with a lower nonce are void.
        uint64 nonce;
        /// The epoch in which it was opened; it counts from the next.
        uint64 opened;
        /// The last epoch that counts, from its expiry or because it was closed.
        uint64 end;
        /// The largest amount of a voucher presented by transaction.
        uint64 presented;
        /// Whether its funds were released, by a leaf or late.
        bool released;
    }

    struct Dataset {
        uint64 rail;
        /// Ascends with every dataset of the rail.
        uint64 version;
        /// The root of the size-weighted tree.
        bytes32 root;
        /// The sum of sizes.
        uint64 size;
        /// The device's signature over the dataset; the rail's signer signs by sending.
        bytes signature;
    }

    struct DatasetInfo {
        uint64 version;
        bytes32 root;
        uint64 size;
        /// The epoch in which it was frozen.
        uint64 frozen;
    }

    /// What a payer's signer promises, cumulatively. The EIP-712 domain is (`Wayleave`, `1`, chain, this
    /// contract).
    struct Voucher {
        uint64 network;
        uint64 rail;
        uint64 nonce;
        uint64 amount;
    }

    /// A payer's account in one network.
    struct Account {
        /// The limits of rails not yet released.
        uint256 open;
        /// The most that released rails can have cost.
        uint256 closed;
        /// The newest epoch of a leaf by which rails were released.
        uint64 epoch;
    }

    event Deposited(address indexed payer, uint256 amount);
    event Withdrawn(address indexed payer, uint256 amount);
    event Opened(uint64 indexed rail, uint64 indexed network, address indexed payer, address payee, address signer, bytes32 device, uint64 limit, uint64 rate, uint64 expiry);
    event ToppedUp(uint64 indexed rail, uint64 limit);
    event Closed(uint64 indexed rail, uint64 end);
    event Released(uint64 indexed rail, address indexed payer);
    event Frozen(uint64 indexed rail, uint64 version, bytes32 root, uint64 size);
    event Presented(uint64 indexed rail, uint64 nonce, uint64 amount);

    error NoSuchRail(uint64 rail);
    error NotPayer(uint64 rail, address caller);
    error NotParty(uint64 rail, address caller);
    error NotSigner(uint64 rail, address caller);
    error RailEnded(uint64 rail, uint64 end);
    error RailOpen(uint64 rail, uint64 end);
    error AlreadyReleased(uint64 rail);
    /// The expiry is before the first epoch that would count, or too far ahead.
    error InvalidExpiry(uint64 expiry, uint64 earliest, uint64 latest);
    /// The device is not in service in this network or not of this payee.
    error InvalidDevice(bytes32 device, address payee);
    /// The deposit does not cover all limits.
    error InsufficientDeposit(address payer, uint256 free, uint256 needed);
    /// A limit can only be raised.
    error LimitLowered(uint64 rail, uint64 limit);
    error StaleDataset(uint64 rail, uint64 version);
    /// The device did not sign this dataset.
    error InvalidSignature(uint64 rail);
    /// The voucher is for another network, below the opening nonce or the presented amount, or above the limit.
    error InvalidVoucher(uint64 rail);
    /// The leaf must be of the rails' payer and network, and of an epoch after their end.
    error WrongLeaf(address payer, uint64 network);
    /// The rail's last epochs are not void: it is released by a leaf.
    error NotLate(uint64 rail, uint64 from);
    /// A release would leave less than what is already settled.
    error Unbacked(uint64 network);

    /// Moves dollars from the caller into its deposit (no allowance needed).
    function deposit(uint256 amount) external;
    function open(OpenRail calldata rail) external returns (uint64);
    function openMany(OpenRail[] calldata rails) external returns (uint64[] memory);
    /// Raises a rail's limit to `limit`.
    function topUp(uint64 rail, uint64 limit) external;
    /// Ends a rail with the current epoch. Payer or payee.
    function close(uint64 rail) external;
    /// Freezes datasets of rails whose signer is the caller.
    function freeze(Dataset[] calldata datasets) external;
    /// Records a voucher, so that the payee keeps it if epochs stay open.
    function present(Voucher calldata voucher, bytes calldata signature) external;
    /// Releases ended rails of the leaf's account: they stay charged with what they can have cost at most.
    /// No rails bring the charge of released ones up to date.
    function release(uint64[] calldata rails, uint64 epoch, Leaf calldata leaf, bytes32[] calldata proof) external;
    /// Releases ended rails whose last epochs are void, less the vouchers presented and what the newest
    /// final leaf says was spent; what is left comes free by `release`. Rails that never counted, as their
    /// device was retired before they could, are released at once and in full. The leaf names payer and
    /// network; its proof is needed only if a rail counted in a final epoch.
    function releaseLate(uint64[] calldata rails, uint64 epoch, Leaf calldata leaf, bytes32[] calldata proof) external;
    /// Pays the caller free dollars of its deposit: what no rail and no settled spending holds.
    function withdraw(uint256 amount) external;
    function rail(uint64 rail) external view returns (RailInfo memory);
    function railCount() external view returns (uint64);
    /// The rails of a network not yet released, in no order that lasts.
    function openRailCount(uint64 network) external view returns (uint64);
    function openRailAt(uint64 network, uint64 index) external view returns (uint64);
    function depositOf(address payer) external view returns (uint256 deposited, uint256 reserved);
    function accountOf(address payer, uint64 network) external view returns (Account memory);
    function dataset(uint64 rail) external view returns (DatasetInfo memory);
    /// All that the payers of a network can be charged with.
    function backing(uint64 network) external view returns (uint256);
}

/// Settlements: the clock of epochs, announced inputs, votes on roots, dissent, and claims.
interface ISettlements {
    /// A round of votes on an epoch. Heights are of the last blocks that count.
    struct Round {
        /// Counted from 1 for each epoch.
        uint64 number;
        /// The term of the committee that votes.
        uint64 term;
        /// The height of the first commit; zero, as the two below, while there is none.
        uint64 opened;
        /// Commits count up to this height, reveals only after it.
        uint64 commitsUntil;
        /// Reveals count up to this height.
        uint64 revealsUntil;
    }

    event Announced(uint64 indexed network, uint64 indexed epoch, address indexed validator, bytes32 inputs);
    event Committed(uint64 indexed network, uint64 indexed epoch, address indexed validator, uint64 round, bytes32 ballot);
    event Revealed(uint64 indexed network, uint64 indexed epoch, address indexed validator, uint64 round, bytes32 choice);
    /// Decided, or decided again. Claimable once its dispute window is over.
    event Finalized(uint64 indexed network, uint64 indexed epoch, bytes32 root, bytes32 statement);
    /// An epoch was disputed; it and all epochs decided after it are open again.
    event Disputed(uint64 indexed network, uint64 indexed epoch, address indexed dissenter, bytes32 disputed, bytes32 choice, uint256 bond);
    /// A dispute ended. `upheld`: what was disputed was replaced, and who revealed it in `round` can be
    /// fined. `paid` of the bond went back.
    event DisputeEnded(uint64 indexed network, uint64 indexed epoch, address indexed dissenter, bool upheld, uint256 paid, uint64 round);
    event Fined(uint64 indexed network, uint64 indexed epoch, address indexed validator, bytes32 key, uint256 amount, uint256 reward);
    event Claimed(uint64 indexed network, address indexed account, uint64 epoch, uint256 vested, uint256 cash);

    error NotValidator(address caller);
    /// Inputs are fixed and votes are counted only after this height.
    error TooEarly(uint64 network, uint64 epoch, uint64 height);
    /// Epochs of a network become final one after another, and void ones never do.
    error WrongEpoch(uint64 network, uint64 epoch, uint64 expected);
    error AlreadyFinal(uint64 network, uint64 epoch);
    error AlreadyAnnounced(uint64 network, uint64 epoch);
    error WrongInputs(uint64 network, uint64 epoch, bytes32 announced);
    /// The ballot is for another round than the one in which a commit counts now.
    error WrongRound(uint64 network, uint64 epoch, uint64 expected);
    /// The round takes no commits any more; another one can begin when it is over.
    error CommitsClosed(uint64 network, uint64 epoch, uint64 until);
    /// No round of the epoch takes reveals, or not before this height.
    error NotRevealing(uint64 network, uint64 epoch, uint64 from);
    /// The validator committed nothing in this round, or to something else.
    error WrongBallot(address validator, bytes32 committed);
    error AlreadyRevealed(address validator);
    /// Nothing is decided for the epoch, or its dispute window is over.
    error NotDisputable(uint64 network, uint64 epoch);
    /// Another epoch of the network is disputed already.
    error AlreadyDisputed(uint64 network, uint64 epoch);
    /// The dissent names what was decided.
    error SameOutcome(bytes32 choice);
    error BondTooSmall(uint256 bond, uint256 least);
    /// The epoch is not disputed, or its votes are still open.
    error NoDisputeToEnd(uint64 network, uint64 epoch);
    /// The seat did not decide what was overruled, was fined for it, or what replaced it is not claimable.
    error NotFinable(uint64 network, uint64 epoch, bytes32 key);
    /// Cumulative totals never fall.
    error TotalsFell(uint64 network);
    /// Dollars spent are not the dollars earned plus burned.
    error NotConserved(uint256 spent, uint256 accounted);
    /// More was spent than payers reserved.
    error NotBacked(uint256 spent, uint256 backing);
    /// Dollars of a class of which none exist.
    error ClassNotBacked(uint8 class);
    /// Less was burned than the manifest's share.
    error BurnedTooLittle(uint256 burned, uint256 least);
    /// More vested than was granted.
    error VestedTooMuch(uint256 vested, uint256 granted);
    /// Top-ups or pay for presence above what the manifest allows.
    error GrantedTooMuch(uint256 granted, uint256 most);
    /// More slashed than staked.
    error SlashedTooMuch(uint256 slashed, uint256 staked);
    /// The epoch has no final root, or its dispute window is not over.
    error NotClaimable(uint64 network, uint64 epoch);
    error InvalidMerkleProof(address account);
    error NothingToClaim(address account);
    /// Claims would exceed what was approved.
    error ClaimExceedsApproved(uint64 network, uint256 claimed, uint256 approved);

    /// Announces the hash of the epoch's inputs file. Only validators; fixed by 2/3 of the seats of a round.
    function announce(uint64 network, uint64 epoch, bytes32 inputs) external;
    /// Commits to a vote on an epoch after its grace, by `ballotHash`. Replaces an earlier commit of the round.
    function commit(uint64 network, uint64 epoch, uint64 round, bytes32 ballot) external;
    /// Reveals the vote once commits are closed. 2/3 of the seats of a round decide.
    function reveal(uint64 network, uint64 epoch, Outcome calldata outcome, bytes32 salt) external;
    /// Says that a decided epoch has another outcome, with a bond of at least `dissentBond`, within the dispute
    /// window. The epoch and those decided after it are voted on again. Anyone may send it.
    function dissent(uint64 network, uint64 epoch, Outcome calldata outcome) external payable;
    /// Ends a dispute of an epoch that became void undecided: the bond goes back. Anyone may send it.
    function endDispute(uint64 network, uint64 epoch) external;
    /// Fines a seat (its place in the committee of the round's term) that decided an outcome in `round` which
    /// was overruled. Half of it is the dissenter's. Anyone may send it.
    function fine(uint64 network, uint64 epoch, uint64 round, uint64 seat) external;
    /// Pays the leaf's account what is new in its leaf of a claimable epoch. Anyone may send it.
    function claim(uint64 epoch, Leaf calldata leaf, bytes32[] calldata proof) external returns (uint256 vested, uint256 cash);
    /// The final root, or zero.
    function root(uint64 network, uint64 epoch) external view returns (bytes32);
    function finalEpoch(uint64 network) external view returns (bool any, uint64 epoch);
    /// The final epoch on whose statement an epoch builds: the one before it if it is final itself, else
    /// the newest.
    function finalBefore(uint64 network, uint64 epoch) external view returns (bool any, uint64 before);
    /// The epoch that the next vote is for. Epochs before it that are not final are void: they stayed open
    /// for too long and can never become final.
    function nextEpoch(uint64 network) external view returns (uint64);
    /// The inputs hash fixed for an epoch, or zero.
    function inputs(uint64 network, uint64 epoch) external view returns (bytes32);
    /// What was final for an epoch; zeros if nothing is.
    function outcome(uint64 network, uint64 epoch) external view returns (Outcome memory);
    /// What an account took so far.
    function claimed(uint64 network, address account) external view returns (uint256 vested, uint256 cash);
    /// What all accounts took so far.
    function claimedTotal(uint64 network) external view returns (uint256 vested, uint256 cash);
    /// Dollars set aside to buy the network's token and burn it by the newest claimable epoch, in millionths.
    function toBurn(uint64 network) external view returns (uint256);
    /// What a validator commits to: keccak256(abi.encode("wayleave ballot", chain id, network, epoch, round,
    /// validator, keccak256(abi.encode(outcome)), salt)).
    function ballotHash(uint64 network, uint64 epoch, uint64 round, address validator, Outcome calldata outcome, bytes32 salt) external view returns (bytes32);
    /// The round in which a commit or a reveal of this block counts: the running one, or if none runs the one
    /// that the next commit begins.
    function roundOf(uint64 network, uint64 epoch) external view returns (Round memory);
    /// What a validator committed to in a round, and the choice that it revealed, keccak256(abi.encode(outcome));
    /// zeros if nothing.
    function voteOf(uint64 network, uint64 epoch, uint64 round, address validator) external view returns (bytes32 ballot, bytes32 choice);
    /// The last dispute of an epoch: who dissented, the bond, the choice disputed and the one put against it.
    /// `open` while it is not decided.
    function disputeOf(uint64 network, uint64 epoch) external view returns (address dissenter, uint256 bond, bytes32 disputed, bytes32 choice, bool open);
    /// What was overruled in a round, by whose dissent, and by which choice; zeros if nothing.
    function rulingOf(uint64 network, uint64 epoch, uint64 round) external view returns (address dissenter, bytes32 overruled, bytes32 choice);
    /// The least bond of a dissent, in the coin's smallest unit.
    function dissentBond() external view returns (uint256);
    /// The height of the first block in which a decided epoch can be claimed, if nobody dissents; zero if it is
    /// not decided or open again, and as long as its window stands still after a dissent.
    function claimableFrom(uint64 network, uint64 epoch) external view returns (uint64 height);
    /// The newest epoch that can be claimed.
    function claimableEpoch(uint64 network) external view returns (bool any, uint64 epoch);
    /// Whether a validator announced an epoch's inputs in the running round, and for which choice.
    function announcementOf(uint64 network, uint64 epoch, address validator) external view returns (bytes32);
    /// The terms whose committees announce the inputs of an epoch and vote on its outcome in a transaction of
    /// this block. A round that has not decided in time is followed by one of a later committee.
    function voters(uint64 network, uint64 epoch) external view returns (uint64 announcing, uint64 voting);
    /// The seats of a validator in the next term, and of all.
    function seats(address validator) external view returns (uint64 held, uint64 total);
    /// Blocks an epoch, and blocks of grace after it.
    function clock() external view returns (uint64 length, uint64 grace);
    /// The epoch of this block.
    function currentEpoch() external view returns (uint64);
    /// Epochs in which a final root can be disputed.
    function disputeWindow() external view returns (uint64);
}

/// Guard: a pause for one function and a limited time, and breakers on outflows. It never holds the
/// claim of settled pay.
interface IGuard {
    event FunctionPaused(address indexed target, bytes4 indexed selector, uint64 until);
    event FunctionResumed(address indexed target, bytes4 indexed selector);

    error NotGuardian(address caller);
    /// The function may never be paused.
    error NotPausable(address target, bytes4 selector);
    error PauseTooLong(uint64 until, uint64 latest);
    /// Between two pauses of one function lies at least the longest pause.
    error PausedRecently(uint64 from);
    /// The outflow of this window would exceed its limit.
    error BreakerOpen(address target, uint256 outflow, uint256 limit);

    function pause(address target, bytes4 selector, uint64 until) external;
    function resume(address target, bytes4 selector) external;
    function pausedUntil(address target, bytes4 selector) external view returns (uint64);
    function guardian() external view returns (address);
    /// What left a contract in the window of this block, and how many blocks a window has.
    function outflow(address target) external view returns (uint256 amount, uint64 window);
}
