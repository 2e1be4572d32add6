// A wallet's library against a running `up`: reading, sending, receipts, events, reverts by name.
// Usage: node viem.mjs RPC-URL        (viem in a node_modules folder beside this file or above it)
import assert from "node:assert/strict";
import {
  BaseError, ContractFunctionRevertedError, createPublicClient, createWalletClient, defineChain, http,
  parseAbi, parseEther,
} from "viem";
import { mnemonicToAccount } from "viem/accounts";

const url = process.argv[2] ?? "http://127.0.0.1:8545";
const chain = defineChain({
  id: 0xde91,
  name: "Wayleave devnet",
  nativeCurrency: { name: "Coin", symbol: "COIN", decimals: 18 },
  rpcUrls: { default: { http: [url] } },
});
const mnemonic = "test test test test test test test test test test test junk";
// The customer: nothing in the devnet sends from its account by itself.
const customer = mnemonicToAccount(mnemonic, { addressIndex: 1 });
// Two whom the genesis gave nothing.
const [one, two] = [100, 101].map((addressIndex) => mnemonicToAccount(mnemonic, { addressIndex }));
const reader = createPublicClient({ chain, transport: http(), pollingInterval: 50 });
const wallet = createWalletClient({ chain, transport: http(), account: customer });

const STABLECOIN = "0x57a1000000000000000000000000000000000010";
const DEVICES = "0x57a1000000000000000000000000000000000003";
const token = parseAbi([
  "event Transfer(address indexed from, address indexed to, uint256 value)",
  "error ERC20InsufficientBalance(address sender, uint256 balance, uint256 needed)",
  "function transfer(address to, uint256 value) returns (bool)",
  "function balanceOf(address account) view returns (uint256)",
]);
const devices = parseAbi(["function deviceCount(uint64 network) view returns (uint64)"]);

assert.equal(await reader.getChainId(), chain.id);
const block = await reader.getBlock({ includeTransactions: true });
assert.equal((await reader.getBlock({ blockHash: block.hash })).number, block.number);
assert.ok((await reader.getBalance({ address: customer.address })) > parseEther("1"));

// A receipt implies that the state after its block can be read: no waiting between the two.
for (let round = 0; round < 10; round += 1) {
  const before = await reader.getBalance({ address: one.address });
  const nonce = await reader.getTransactionCount({ address: customer.address });
  const hash = await wallet.sendTransaction({ to: one.address, value: parseEther("1") });
  assert.ok(await reader.getTransaction({ hash }), "a sent transaction is known");
  const receipt = await reader.waitForTransactionReceipt({ hash });
  assert.equal(receipt.status, "success");
  assert.ok((await reader.getBlockNumber({ cacheTime: 0 })) >= receipt.blockNumber);
  assert.equal(await reader.getBalance({ address: one.address }), before + parseEther("1"));
  assert.equal(await reader.getTransactionCount({ address: customer.address }), nonce + 1);
  const { blockNumber } = receipt;
  assert.equal(await reader.getBalance({ address: one.address, blockNumber }), before + parseEther("1"));
}

// System contracts look like any others.
const count = await reader.readContract({
  address: DEVICES, abi: devices, functionName: "deviceCount", args: [1n],
});
assert.ok(count >= 6n);
const hash = await wallet.writeContract({
  address: STABLECOIN, abi: token, functionName: "transfer", args: [two.address, 5n],
});
const { blockNumber, logs } = await reader.waitForTransactionReceipt({ hash });
assert.equal(logs.length, 1);
const [event] = await reader.getContractEvents({
  address: STABLECOIN, abi: token, eventName: "Transfer", args: { to: two.address },
  fromBlock: blockNumber, toBlock: blockNumber,
});
assert.equal(event.args.value, 5n);
assert.equal(event.transactionHash, hash);

// A revert comes back as the contract's own error, from a call and from an estimate.
const refused = {
  address: STABLECOIN, abi: token, functionName: "transfer", args: [customer.address, 1_000_000n],
  account: one,
};
for (const attempt of [() => reader.simulateContract(refused), () => reader.estimateContractGas(refused)]) {
  await assert.rejects(attempt, (error) => {
    assert.ok(error instanceof BaseError, error);
    const revert = error.walk((cause) => cause instanceof ContractFunctionRevertedError);
    assert.equal(revert?.data?.errorName, "ERC20InsufficientBalance", error.message);
    assert.deepEqual(revert.data.args.slice(2), [1_000_000n]);
    return true;
  });
}
const head = await reader.getBlockNumber({ cacheTime: 0 });
await new Promise((resolve, reject) => {
  const unwatch = reader.watchBlockNumber({
    onBlockNumber: (number) => { if (number > head) { unwatch(); resolve(); } },
    onError: reject,
  });
});
console.log("viem: all well");
