<?php
// The database: prepared statements, transactions that are tried again after a deadlock, named locks.
declare(strict_types=1);

namespace Shop;

final class Db
{
    private const CONNECT_SECONDS = 2;
    // Deadlock, lock wait timeout: the transaction was rolled back and may be tried again.
    private const RETRYABLE = [1213, 1205];
    // Gone away, lost connection, shutdown in progress, connection killed.
    private const CONNECTION_LOST = [2002, 2006, 2013, 1053, 1927];

    private function __construct(private readonly \PDO $pdo)
    {
    }

    public static function connect(string $password): self
    {
        try {
            return new self(new \PDO('mysql:host=db;port=3306;dbname=shop;charset=utf8mb4', 'shop', $password, [
                \PDO::ATTR_TIMEOUT => self::CONNECT_SECONDS,
                \PDO::ATTR_ERRMODE => \PDO::ERRMODE_EXCEPTION,
                \PDO::ATTR_DEFAULT_FETCH_MODE => \PDO::FETCH_ASSOC,
                \PDO::ATTR_EMULATE_PREPARES => false,
                \PDO::ATTR_STRINGIFY_FETCHES => false,
                \PDO::MYSQL_ATTR_FOUND_ROWS => true,
            ]));
        } catch (\PDOException | \ErrorException $e) {
            throw new TierDown('db', $e);
        }
    }

    /** @param list<int|string|null> $values */
    public function run(string $sql, array $values = []): int
    {
        return $this->statement($sql, $values)->rowCount();
    }

    /** @param list<int|string|null> $values @return list<array<string, int|string|null>> */
    public function rows(string $sql, array $values = []): array
    {
        return $this->statement($sql, $values)->fetchAll();
    }

    /** @param list<int|string|null> $values @return array<string, int|string|null>|null */
    public function row(string $sql, array $values = []): ?array
    {
        return $this->rows($sql, $values)[0] ?? null;
    }

    /** @param list<int|string|null> $values */
    public function value(string $sql, array $values = []): int|string|null
    {
        $row = $this->statement($sql, $values)->fetch(\PDO::FETCH_NUM);
        return $row === false ? null : $row[0];
    }

    public function lastId(): int
    {
        return (int) $this->pdo->lastInsertId();
    }

    /**
     * Runs `$work` in a transaction; again, up to five times, when the database chose it as a deadlock's victim.
     *
     * @template T
     * @param callable(): T $work
     * @return T
     */
    public function transaction(callable $work): mixed
    {
        for ($attempt = 1;; $attempt++) {
            $this->pdo->beginTransaction();
            try {
                $result = $work();
                $this->pdo->commit();
                return $result;
            } catch (\Throwable $e) {
                $this->rollBack();
                if ($attempt < 5 && $e instanceof \PDOException && in_array(self::code($e), self::RETRYABLE, true)) {
                    continue;
                }
                throw $e;
            }
        }
    }

    /**
     * Runs `$work` while nobody else runs anything under the same lock.
     *
     * @template T
     * @param callable(): T $work
     * @return T
     */
    public function locked(string $name, int $waitSeconds, callable $work): mixed
    {
        if ($this->value('SELECT GET_LOCK(?, ?)', [$name, $waitSeconds]) !== 1) {
            throw new \RuntimeException("another process holds the lock '$name' for more than $waitSeconds s");
        }
        try {
            return $work();
        } finally {
            $this->value('SELECT RELEASE_LOCK(?)', [$name]);
        }
    }

    public static function isDuplicate(\PDOException $e): bool
    {
        return self::code($e) === 1062;
    }

    public static function isLockTimeout(\PDOException $e): bool
    {
        return self::code($e) === 1205;
    }

    private static function code(\PDOException $e): int
    {
        return (int) ($e->errorInfo[1] ?? 0);
    }

    private function rollBack(): void
    {
        try {
            $this->pdo->rollBack();
        } catch (\PDOException) {
            // The connection is gone and the transaction with it; the first error is the one to tell.
        }
    }

    /** @param list<int|string|null> $values */
    private function statement(string $sql, array $values): \PDOStatement
    {
        try {
            $statement = $this->pdo->prepare($sql);
            $statement->execute($values);
            return $statement;
        } catch (\PDOException $e) {
            throw in_array(self::code($e), self::CONNECTION_LOST, true) ? new TierDown('db', $e) : $e;
        }
    }
}
